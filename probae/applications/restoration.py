"""Putting back what is missing: pixels, or whole colour channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError


def colorize(model: Any, x: Any, channels: Sequence[int] | int = 0, **options: Any) -> Tensor:
    """Fill in the colour channels that are not known: in-painting with a mask over channels.

    For a grey picture, train on luminance and chrominance, and take the luminance as the known one.

    Args:
        model: one that can `inpaint`, of data shape (C, height, width).
        x: a data set, or a tensor or an array (N, D) or (N, C, height, width); the other channels may be anything.
        channels: the known ones, by number.
        options: of `model.inpaint`: steps, mean, ...

    Returns:
        (N, D).

    Raises:
        ArgumentError: for a model of other data, or channels that there are not, or all of them.

    Example:
        >>> import probae as pb
        >>> shapes = pb.data.load("shapes", size=50)
        >>> model = pb.VAE(shapes.train.data_shape, 4, 16, "normal")
        >>> colorize(model, shapes.train[:3], channels=0, steps=2).shape
        torch.Size([3, 768])
    """
    return model.inpaint(x, channel_mask(model.data_shape, channels), **options)


def channel_mask(data_shape: tuple[int, ...], channels: Sequence[int] | int) -> Tensor:
    """Which of an example's values belong to some of its channels, (D,), for a data shape (C, height, width).

    Example:
        >>> channel_mask((3, 1, 2), [0, 2])
        tensor([ True,  True, False, False,  True,  True])
    """
    if len(data_shape) != 3:
        raise ArgumentError("model", "one of images in colour, (channels, height, width)", f"data shape {data_shape}")
    known = channels if isinstance(channels, Sequence) else [channels]
    known = [checks.positive_int("channels", channel, minimum=0) for channel in known]
    if not known or max(known) >= data_shape[0] or len(set(known)) == data_shape[0]:
        wanted = f"some of the channels 0 to {data_shape[0] - 1}, not all of them"
        raise ArgumentError("channels", wanted, repr(channels))
    mask = torch.zeros(data_shape, dtype=torch.bool)
    mask[known] = True
    return mask.flatten()
