"""Spectrograms stand upright: the lowest frequency at the bottom, the louder the darker."""

import numpy as np
import pytest
import torch

from probae.errors import ArgumentError, DataError
from probae.plots import spectrograms


def test_the_first_row_is_at_the_bottom_and_loud_is_dark() -> None:
    x = torch.zeros(1, 40, 28)
    x[0, 0, 3], x[0, 39, 27] = 1.0, 0.25
    picture = np.asarray(spectrograms(x).images[0].get_array())[..., 0]
    assert picture.shape == (40, 28)
    assert picture[39, 3] == 0.0
    assert picture[0, 27] == 0.75
    assert (np.delete(picture.flatten(), [39 * 28 + 3, 27]) == 1.0).all()


def test_limits_and_shapes() -> None:
    flat = torch.full((6, 64 * 32), -3.0)
    ax = spectrograms(flat, (1, 64, 32), rows=2, limits=(-5.0, 0.0))
    assert np.asarray(ax.images[0].get_array())[0, 0, 0] == pytest.approx(0.6)
    assert ax.get_xlabel().replace("\n", " ") == "time to the right, frequency up"


@pytest.mark.parametrize(("x", "shape"), [(torch.rand(2, 3, 8, 8), None), (torch.rand(2, 12), None)])
def test_what_is_no_spectrogram_is_named(x: torch.Tensor, shape: tuple[int, ...] | None) -> None:
    with pytest.raises((DataError, ArgumentError), match=r"^(x|data_shape): "):
        spectrograms(x, shape)
