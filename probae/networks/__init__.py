"""Plain `nn.Module`s for encoders and decoders, and the architectures that make them by name."""

from probae.networks.base import Network
from probae.networks.conv import Conv
from probae.networks.mlp import MLP
from probae.networks.recurrent import Recurrent

NETWORKS: dict[str, type[Network]] = {"mlp": MLP, "conv": Conv, "recurrent": Recurrent}

__all__ = ["MLP", "NETWORKS", "Conv", "Network", "Recurrent"]
