"""The peers of the autoencoder rows, each takes turns of steps: Pyro's own loop, PyTorch by hand, pythae."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
import torch.nn.functional as F
from torch import Tensor

import probae as pb
from benchmarks.programs.vae import VAE as PyroVAE
from benchmarks.race import Turn

RATE = 1e-3
LATENT, HIDDEN, VISIBLE = 50, (200, 200), 784


def vae(device: str = "cpu") -> pb.VAE:
    """The VAE of all rows, 784-200-200-50 with tanh, new and always the same."""
    torch.manual_seed(0)
    return pb.VAE(VISIBLE, latent_dim=LATENT, hidden=HIDDEN, activation="tanh").to(device)


def bits(count: int, device: str = "cpu", width: int = VISIBLE) -> Tensor:
    """Random bits, a fifth of them ones: time does not depend on what is in them."""
    torch.manual_seed(0)
    return (torch.rand(count, width) < 0.2).float().to(device)


def shuffled(x: Tensor, batch: int) -> Iterator[Tensor]:
    """The batches of one epoch over resident data, as anyone would cut them by hand."""
    for indices in torch.randperm(len(x), device=x.device).split(batch):
        yield x.index_select(0, indices)


def svi(
    model: Callable[..., Any], guide: Callable[..., Any], batches: Callable[[], Iterator[tuple[Any, ...]]],
    loss: Any = None, optimizer: Any = None,
) -> Turn:  # fmt: skip
    """Pyro's own loop, as its tutorials write it, with its checks off and a parameter store of its own.

    Args:
        model, guide: the pair.
        batches: makes the batches of one turn, tuples of arguments.
        loss: one of Pyro's; `Trace_ELBO` by default.
        optimizer: one of Pyro's; Adam at 1e-3 by default.
    """
    store = pyro.get_param_store()
    with store.scope() as state:
        optimizer = optimizer or pyro.optim.Adam({"lr": RATE})
        one = pyro.infer.SVI(model, guide, optimizer, loss=loss or pyro.infer.Trace_ELBO())

    def train() -> None:
        with store.scope(state), pyro.validation_enabled(False):
            for batch in batches():
                one.step(*batch)

    return train


def vae_svi(x: Tensor, batch: int) -> Turn:
    """The same network as Pyro's own example writes it, under `pyro.infer.SVI`: a little faster there than our pair."""
    torch.manual_seed(0)
    model = PyroVAE(VISIBLE, HIDDEN[0], LATENT).to(x.device)
    return svi(model.model, model.guide, lambda: ((part,) for part in shuffled(x, batch)))


def vae_loss(model: pb.VAE) -> Callable[[Tensor], Tensor]:
    """The same network and the same loss as Pyro's, per example, written without Pyro."""

    def loss(x: Tensor) -> Tensor:
        loc, raw = model.encoder(x).chunk(2, -1)
        scale = F.softplus(raw + 0.5) + 1e-6
        logits = model.decoder(loc + scale * torch.randn_like(loc))
        kl = (0.5 * (loc.square() + scale.square() - 1) - scale.log()).sum()
        return (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / len(x)

    return loss


def vae_by_hand(x: Tensor, batch: int, compiled: bool = False) -> Turn:
    """PyTorch by hand with its fused Adam: eager, or the loss and its gradient through `torch.compile`."""
    model = vae(str(x.device))
    loss = torch.compile(vae_loss(model)) if compiled else vae_loss(model)
    return _loop(loss, model, x, batch)


def _loop(loss: Callable[[Tensor], Tensor], model: torch.nn.Module, x: Tensor, batch: int) -> Turn:
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)

    def train() -> None:
        for part in shuffled(x, batch):
            loss(part).backward()
            optimizer.step()
            optimizer.zero_grad()

    return train


def vae_products(x: Tensor, batch: int, dtype: torch.dtype = torch.float32) -> Turn:
    """The matrix products of a step alone, forward and backward: the floor below every implementation."""
    sizes = [(VISIBLE, 200), (200, 200), (200, 2 * LATENT), (LATENT, 200), (200, 200), (200, VISIBLE)]

    def matrix(*shape: int) -> Tensor:
        return torch.randn(shape, device=x.device, dtype=dtype)

    triples = [(matrix(batch, i), matrix(i, o), matrix(batch, o)) for i, o in sizes]

    def train() -> None:
        for _ in range(len(x) // batch):
            for index, (inputs, weight, gradient) in enumerate(triples):
                inputs @ weight
                gradient.t() @ inputs
                if index:  # nobody asks for the gradient of the data
                    gradient @ weight.t()

    return train


def pythae_vae(seed_model: pb.VAE) -> Any:
    """The same network as a model of pythae's, on its own base classes."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = seed_model.encoder

        def forward(self, x: Tensor) -> Any:
            loc, log_variance = self.network(x).chunk(2, -1)
            return ModelOutput(embedding=loc, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = seed_model.decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    config = VAEConfig(input_dim=(VISIBLE,), latent_dim=LATENT, reconstruction_loss="bce")
    return VAE(config, Encoder(), Decoder()).to(seed_model.device)


def vae_pythae(x: Tensor, batch: int) -> Turn:
    """A training step of pythae's model, in the loop and with the optimizer of the hand-written ones."""
    model = pythae_vae(vae(str(x.device)))
    return _loop(lambda part: model({"data": part}).loss, model, x, batch)


def vae_pythae_trainer(x: Tensor, batch: int) -> Turn:
    """An epoch of pythae's own trainer with its loader, as its users train; without its progress bars."""
    import logging
    import tempfile

    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    for name in logging.root.manager.loggerDict:
        if name.startswith("pythae"):
            logging.getLogger(name).setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=1, learning_rate=RATE, per_device_train_batch_size=batch,
            no_cuda=x.device.type != "cuda",
        )  # fmt: skip
        data = BaseDataset(x.cpu(), torch.zeros(len(x)))
        trainer = BaseTrainer(pythae_vae(vae(str(x.device))), data, training_config=config)
        trainer.prepare_training()
    trainer.callback_handler.callbacks.clear()
    return lambda: trainer.train_step(epoch=1)
