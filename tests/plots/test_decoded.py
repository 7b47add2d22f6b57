"""Traversals and manifolds show what the decoder says at the places that they name."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

import probae as pb
from probae.errors import ArgumentError
from probae.plots import interpolations, manifold, traversals
from probae.plots.style import COLOURS

WIDTH = 28  # in which images are drawn, so that those of 28 x 28 are drawn as they are


def decode(z: Tensor) -> Tensor:
    """Images whose first pixels are the code, from [-4, 4] to [0, 1]; all others are its length."""
    x = torch.full((len(z), WIDTH * WIDTH), float(z.shape[1]) / 100)
    x[:, : z.shape[1]] = z / 8 + 0.5
    return x


def image(ax: plt.Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def codes_in(ax: plt.Axes, rows: int, cols: int, size: int, gap: int, space: int) -> np.ndarray:
    """The code that each image was made from, read from its first pixels: (rows, cols, L)."""
    picture = image(ax)
    tops, lefts = (np.arange(count) * (WIDTH + room) for count, room in ((rows, space), (cols, gap)))
    return np.stack([[8 * (picture[top, left : left + size, 0] - 0.5) for left in lefts] for top in tops])


def test_each_row_moves_one_dimension_and_leaves_the_others() -> None:
    z = torch.tensor([0.5, -1.0, 2.0])
    found = codes_in(traversals(decode, z, steps=7, span=3.0), 3, 7, 3, gap=2, space=6)
    for row in range(3):
        wanted = z.repeat(7, 1)
        wanted[:, row] = torch.linspace(-3, 3, 7)
        np.testing.assert_allclose(found[row], wanted, atol=1e-5)


def test_codes_give_the_order_the_centre_and_the_unit() -> None:
    codes = torch.randn(500, 4) * torch.tensor([0.1, 1.0, 0.5, 0.0]) + torch.tensor([0.0, 1.0, -1.0, 2.0])
    ax = traversals(decode, codes[:1], codes=codes, steps=3, span=2.0)
    names = [label.get_text().split()[0] for label in ax.get_yticklabels()]
    assert names == ["z[1]", "z[2]", "z[0]", "z[3]"]
    found = codes_in(ax, 4, 3, 4, gap=2, space=6)
    for row, d in enumerate((1, 2, 0, 3)):
        centre, unit = codes[:, d].mean(), codes[:, d].std(correction=0)
        np.testing.assert_allclose(found[row, :, d], [centre - 2 * unit, centre, centre + 2 * unit], atol=1e-5)


def test_a_mark_shows_where_the_code_lies() -> None:
    ax = traversals(decode, torch.tensor([-3.0, 0.0, 1.5, 5.0]), steps=5)
    marks = [line.get_xydata()[0] for line in ax.lines]
    assert [mark[0] for mark in marks] == pytest.approx([13.5, 2 * 30 + 13.5, 3 * 30 + 13.5])  # 5 is beyond the end
    assert [mark[1] for mark in marks] == pytest.approx([27.5, 34 + 27.5, 68 + 27.5])
    assert ax.lines[0].get_color() == COLOURS[6]


def test_dimensions_can_be_chosen_and_are_at_most_ten_else() -> None:
    def names(**options: object) -> list[str]:
        return [label.get_text() for label in traversals(decode, torch.zeros(12), **options).get_yticklabels()]

    assert names() == [f"z[{d}]" for d in range(10)]
    assert names(dims=[11, 0]) == ["z[11]", "z[0]"]


def test_a_manifold_has_equal_shares_of_the_prior_upwards_and_to_the_right() -> None:
    ax = manifold(decode, steps=6)
    found = codes_in(ax, 6, 6, 2, gap=0, space=0)
    places = Normal(0.0, 1.0).icdf((torch.arange(6) + 0.5) / 6).numpy()
    np.testing.assert_allclose(found[:, :, 0], np.tile(places, (6, 1)), atol=1e-5)
    np.testing.assert_allclose(found[:, :, 1], np.tile(places[::-1, None], (1, 6)), atol=1e-5)
    ticks = dict(zip([label.get_text() for label in ax.get_xticklabels()], ax.get_xticks(), strict=True))
    assert ticks["0"] == pytest.approx(3 * WIDTH - 0.5)
    upwards = dict(zip([label.get_text() for label in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert 0.5 * WIDTH < upwards["1"] < 1.5 * WIDTH < upwards["0"] < 4.5 * WIDTH < upwards["−1"]


def test_a_manifold_over_codes_has_equal_shares_of_them() -> None:
    codes = torch.stack([torch.linspace(0, 1, 101), torch.linspace(-3, 3, 101)], 1)
    found = codes_in(manifold(decode, steps=4, codes=codes), 4, 4, 2, gap=0, space=0)
    np.testing.assert_allclose(found[0, :, 0], [0.125, 0.375, 0.625, 0.875], atol=1e-5)
    np.testing.assert_allclose(found[:, 0, 1], [2.25, 0.75, -0.75, -2.25], atol=1e-5)


def test_a_distribution_is_drawn_by_its_mean_and_a_model_decodes() -> None:
    def bernoulli(z: Tensor) -> Independent:
        return Independent(Bernoulli(probs=decode(z)), 1)

    z = torch.tensor([0.5, -1.0])
    np.testing.assert_array_equal(image(traversals(bernoulli, z)), image(traversals(decode, z)))
    vae = pb.VAE((8, 8), 2, 4)
    picture = image(manifold(vae.decode, (8, 8), steps=2))
    plane = torch.tensor([[-0.6745, 0.6745], [0.6745, 0.6745], [-0.6745, -0.6745], [0.6745, -0.6745]])
    wanted = vae.decode(plane).mean.reshape(2, 2, 8, 8).permute(0, 2, 1, 3).reshape(16, 16)
    np.testing.assert_allclose(picture[::4, ::4, 0], wanted, atol=1e-4)


def test_colour_images_and_limits() -> None:
    def colours(z: Tensor) -> Tensor:
        return z[:, :3, None, None].expand(-1, -1, WIDTH, WIDTH)

    picture = image(traversals(colours, torch.tensor([-1.0, 0.0, 1.0]), dims=[1], steps=3, limits=(-2, 2)))
    np.testing.assert_allclose(picture[0, [0, 30, 60]], [[0.25, 0, 0.75], [0.25, 0.5, 0.75], [0.25, 1, 0.75]])
    assert (picture[0, 28] == 1).all()


def test_nothing_is_learned_and_axes_are_used() -> None:
    weight = torch.rand(2, 64, requires_grad=True)
    axes = plt.subplots(1, 2)[1]
    assert traversals(lambda z: (z @ weight).sigmoid(), torch.zeros(2), ax=axes[0]) is axes[0]
    assert manifold(lambda z: (z @ weight).sigmoid(), steps=3, ax=axes[1]) is axes[1]
    assert weight.grad is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"decode": None}, "decode"),
        ({"decode": lambda z: None}, "decode"),
        ({"decode": lambda z: decode(z)[:-1]}, "decode"),
        ({"decode": lambda z: decode(z) * torch.nan}, "decode"),
        ({"decode": lambda z: TransformedDistribution(Normal(decode(z), 1.0), TanhTransform())}, "decode"),
        ({"data_shape": (8, 8)}, "decode"),
        ({"decode": lambda z: z}, "data_shape"),
        ({"z": torch.zeros(2, 3)}, "z"),
        ({"z": [0.0, 0.0]}, "z"),
        ({"z": torch.tensor([0.0, torch.inf])}, "z"),
        ({"dims": []}, "dims"),
        ({"dims": [2]}, "dims"),
        ({"dims": [-1]}, "dims"),
        ({"dims": 1}, "dims"),
        ({"span": 0.0}, "span"),
        ({"steps": 1}, "steps"),
        ({"codes": torch.zeros(5, 3)}, "codes"),
        ({"codes": torch.zeros(2)}, "codes"),
        ({"limits": (1, 1)}, "limits"),
        ({"padding": -1}, "padding"),
    ],
)
def test_errors_name_the_argument(options: dict[str, object], name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        traversals(**{"decode": decode, "z": torch.zeros(2), **options})
    assert error.value.argument == name
    if options.keys() <= {"decode", "data_shape", "limits"}:
        with pytest.raises(ArgumentError) as error:
            manifold(**{"decode": decode, **options})
        assert error.value.argument == name


def test_errors_of_a_manifold_name_the_argument() -> None:
    for options in ({"steps": 1}, {"codes": torch.zeros(5, 3)}, {"codes": torch.full((5, 2), torch.nan)}):
        with pytest.raises(ArgumentError) as error:
            manifold(decode, **options)
        assert error.value.argument in options


def test_interpolations_go_straight_from_one_code_to_the_other() -> None:
    start, end = torch.tensor([[0.0, 1.0], [-2.0, 3.0]]), torch.tensor([[1.0, -1.0], [2.0, 3.0]])
    found = codes_in(interpolations(decode, start, end, steps=5, padding=0.1), 2, 5, 2, gap=3, space=3)
    for row in range(2):
        wanted = [start[row] + (end[row] - start[row]) * step / 4 for step in range(5)]
        np.testing.assert_allclose(found[row], torch.stack(wanted), atol=1e-5)


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        (torch.zeros(2), torch.zeros(2), "start"),
        (torch.zeros(2, 3), torch.zeros(3, 3), "end"),
        (torch.zeros(2, 3), torch.zeros(2, 4), "end"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.nan), "end"),
    ],
)
def test_ends_that_do_not_fit_are_named(start: Tensor, end: Tensor, name: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        interpolations(decode, start, end)
    assert raised.value.argument == name
