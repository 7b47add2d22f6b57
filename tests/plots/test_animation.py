"""A film of maps: a frame for each, in one plane and on one scale, so that nothing moves but the codes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from probae.errors import ArgumentError, DataError
from probae.plots import map_animation
from probae.plots.animation import _film, _maps
from probae.plots.latent import plane
from probae.plots.style import tidy


def codes(epochs: int = 3, latent: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(epochs, 40, latent, generator=generator, dtype=torch.float64) + torch.arange(epochs)[:, None, None]
    )


def test_all_maps_are_drawn_in_the_plane_of_the_last() -> None:
    given = codes()
    maps, names = _maps(given)
    torch.testing.assert_close(maps[-1], plane(given[-1])[0])
    assert names == plane(given[-1])[1]
    moved = given.clone()
    moved[0] += 100.0  # another beginning changes neither the plane nor the other maps
    torch.testing.assert_close(_maps(moved)[0][1:], maps[1:])
    shift = _maps(moved)[0][0] - maps[0]
    torch.testing.assert_close(shift, shift[:1].expand_as(shift))
    torch.testing.assert_close(_maps(codes(latent=2))[0], codes(latent=2))


def test_a_frame_moves_points_and_names_and_leaves_axes_and_colours() -> None:
    points, classes = codes(latent=2), torch.arange(40) % 3 - 1
    ax = tidy(plt.subplots()[1])
    draw = _film(ax, points, classes, [0, 5, 9], ("across", "up"), named=True)
    limits, colours = (ax.get_xlim(), ax.get_ylim()), ax.collections[0].get_facecolors().copy()
    for number, epoch in enumerate((0, 5, 9)):
        draw(number)
        np.testing.assert_allclose(ax.collections[0].get_offsets(), points[number])
        for text in ax.texts:
            middle = points[number][classes == int(text.get_text())].median(dim=0).values
            assert text.get_position() == tuple(middle.tolist())
        assert ax.get_title(loc="right") == f"epoch {epoch}"
        assert (ax.get_xlim(), ax.get_ylim()) == limits
        np.testing.assert_array_equal(ax.collections[0].get_facecolors(), colours)
    assert [text.get_text() for text in ax.texts] == ["0", "1"]
    assert limits[0][1] - limits[0][0] == pytest.approx(limits[1][1] - limits[1][0])


def test_a_file_has_a_frame_for_each_map_and_holds_the_last(tmp_path: Path) -> None:
    open_before = plt.get_fignums()
    path = map_animation(tmp_path / "map.gif", codes(4), torch.arange(40) % 3, seconds=0.5, size=2.0, dpi=40)
    assert plt.get_fignums() == open_before
    with Image.open(path) as film:
        assert (film.format, film.size) == ("GIF", (80, 80))
        assert film.n_frames >= 4
        frames = []
        total = 0
        for number in range(film.n_frames):
            film.seek(number)
            total += film.info["duration"]
            frames.append(np.asarray(film.convert("RGB")))
    assert total == 500 * (4 + 3)
    assert all((one != other).any() for one, other in pairwise(frames[:4]))


BAD = {
    "codes": (ValueError, {"codes": torch.zeros(5, 2)}),
    "codes of one dimension": (ValueError, {"codes": torch.zeros(3, 5, 1)}),
    "codes that are NaN": (ValueError, {"codes": torch.full((3, 5, 2), torch.nan)}),
    "labels": (DataError, {"labels": torch.zeros(4, dtype=torch.long)}),
    "epochs": (DataError, {"epochs": [1, 2]}),
    "seconds": (ArgumentError, {"seconds": 0.0}),
    "size": (ArgumentError, {"size": -1.0}),
    "dpi": (ArgumentError, {"dpi": 0}),
    "path": (DataError, {"path": "map.mp4"}),
    "path in no folder": (DataError, {"path": "no/such/folder/map.gif"}),
    "path that is none": (DataError, {"path": None}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_named(case: str, tmp_path: Path) -> None:
    error, given = BAD[case]
    arguments = {"path": tmp_path / "map.gif", "codes": torch.rand(3, 5, 2), **given}
    with pytest.raises(error) as raised:
        map_animation(**arguments)  # pyright: ignore[reportArgumentType]
    assert raised.value.argument == case.split()[0]  # pyright: ignore[reportAttributeAccessIssue]
    assert not list(tmp_path.iterdir())
