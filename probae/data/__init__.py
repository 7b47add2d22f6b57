"""Data that knows its protocol, and the sets that come by name."""

from probae.data.dataset import Dataset
from probae.data.load import load
from probae.data.protocol import Protocol
from probae.data.splits import Splits

__all__ = ["Dataset", "Protocol", "Splits", "load"]
