"""Pictures of chains: each state where and when it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from probae.errors import ArgumentError, DataError
from probae.plots import chain_animation, chain_grid

STATES = (torch.arange(9 * 3).reshape(9, 3, 1) / 26.0).expand(9, 3, 784)
"""Each state of each chain in a grey of its own."""


def greys(picture: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The grey in the middle of each tile."""
    height, width = picture.shape[0] / rows, picture.shape[1] / cols
    across, down = ((np.arange(count) + 0.5) for count in (cols, rows))
    return picture[(down * height).astype(int)][:, (across * width).astype(int)][..., 0]


@pytest.mark.parametrize(("cols", "times"), [(9, range(9)), (3, (0, 4, 8)), (20, range(9)), (1, (0,))])
def test_a_row_is_a_chain_and_runs_from_its_first_state_to_its_last(cols: int, times: Any) -> None:
    image = np.asarray(chain_grid(STATES, cols=cols).images[0].get_array())
    wanted = STATES[list(times), :, 0].T.numpy()
    np.testing.assert_allclose(greys(image, 3, len(times)), wanted, atol=1e-6)


def test_so_many_chains_are_shown() -> None:
    image = np.asarray(chain_grid(STATES, rows=2, cols=9).images[0].get_array())
    np.testing.assert_allclose(greys(image, 2, 9), STATES[:, :2, 0].T.numpy(), atol=1e-6)


def test_limits_are_black_and_white() -> None:
    image = np.asarray(chain_grid(4 * STATES - 2, cols=9, limits=(-2, 2)).images[0].get_array())
    np.testing.assert_allclose(greys(image, 3, 9), STATES[..., 0].T.numpy(), atol=1e-6)
    with pytest.raises(DataError, match=r"^states: expected values in \[0, 1\]"):
        chain_grid(4 * STATES)


def test_a_film_shows_every_state_in_turn(tmp_path: Path) -> None:
    before = plt.get_fignums()
    path = chain_animation(tmp_path / "chains.gif", STATES, rows=1, cols=3, every=4, seconds=0.5, size=3.0, dpi=60)
    assert plt.get_fignums() == before
    with Image.open(path) as film:
        shown, total = [], 0
        for number in range(film.n_frames):
            film.seek(number)
            total += film.info["duration"]
            picture = np.asarray(film.convert("L"), dtype=float) / 255
            row = picture[-picture.shape[0] // 3]
            shown.append([row[round(share * len(row))] for share in (0.2, 0.5, 0.8)])
    assert total == 500 * (3 + 3)
    np.testing.assert_allclose(shown[:3], STATES[::4, :, 0], atol=0.03)


BAD: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "states": (DataError, {"states": torch.zeros(5, 4)}),
    "states that are none": (DataError, {"states": [1, 2]}),
    "rows": (ArgumentError, {"rows": 0}),
    "cols": (ArgumentError, {"cols": 0}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_named(case: str, tmp_path: Path) -> None:
    error, given = BAD[case]
    for draw in (chain_grid, lambda **arguments: chain_animation(tmp_path / "chains.gif", **arguments)):
        with pytest.raises(error) as raised:
            draw(**{"states": torch.rand(3, 5, 4), **given})  # pyright: ignore[reportArgumentType]
        assert raised.value.argument == case.split()[0]  # pyright: ignore[reportAttributeAccessIssue]
    films: dict[str, tuple[type[Exception], Any]] = {
        "every": (ArgumentError, 0), "seconds": (ArgumentError, 0.0), "size": (ArgumentError, -1.0)
    }  # fmt: skip
    for name, (wanted, value) in films.items():
        with pytest.raises(wanted, match=rf"^{name}: "):
            chain_animation(tmp_path / "chains.gif", torch.rand(3, 5, 4), **{name: value})
    with pytest.raises(DataError, match=r"^path: "):
        chain_animation(tmp_path / "chains.mp4", torch.rand(3, 5, 4))
    assert not list(tmp_path.iterdir())
