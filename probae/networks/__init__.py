"""Plain `nn.Module`s for encoders and decoders."""
