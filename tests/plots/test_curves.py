"""Learning curves draw what the history holds, at its epochs, and the right way up."""

import pytest
import torch

import probae as pb
from probae.errors import ArgumentError
from probae.plots import learning_curves

HISTORY = {
    "epoch": [1, 2, 3, 4],
    "train_loss": [30.0, 27.0, 25.0, 24.0],
    "valid_elbo": [-31.0, None, float("nan"), -26.0],
    "seconds": [0.1, 0.2, 0.3, 0.4],
}


def curves(*args: object, **options: object) -> dict[str, list[tuple[float, float]]]:
    """Label -> points of the curves that were drawn."""
    ax = learning_curves(*args, **options)
    handles, labels = ax.get_legend_handles_labels()
    points = [list(zip(*line.get_data(), strict=True)) for line in handles]
    return dict(zip(labels, points, strict=True))


def test_losses_are_negated_beside_bounds_and_gaps_are_left_out() -> None:
    assert curves(HISTORY) == {
        "−train loss": [(1, -30), (2, -27), (3, -25), (4, -24)],
        "valid ELBO": [(1, -31), (4, -26)],
    }


def test_losses_alone_stay_losses() -> None:
    assert curves(HISTORY, ["train_loss"]) == {"train loss": [(1, 30), (2, 27), (3, 25), (4, 24)]}


def test_other_columns_are_drawn_when_asked_for_or_alone() -> None:
    assert list(curves(HISTORY, ["seconds"])) == ["seconds"]
    assert list(curves({"epoch": [1], "accuracy": [0.5]})) == ["accuracy"]


def test_best_epoch_is_marked_and_axes_have_units() -> None:
    ax = learning_curves(HISTORY, best_epoch=4)
    assert [text.get_text() for text in ax.texts] == ["best: epoch 4"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "nats per example")
    assert learning_curves(HISTORY, ax=ax) is ax


def test_a_column_has_one_colour_in_all_pictures_of_a_history() -> None:
    def colours(**options: object) -> dict[str, str]:
        return {line.get_label().lstrip("−"): line.get_color() for line in learning_curves(HISTORY, **options).lines}

    both = colours()
    assert len(set(both.values())) == 2
    assert colours(columns=["valid_elbo"]) == {"valid ELBO": both["valid ELBO"]}
    assert colours(columns=["train_loss", "seconds"])["train loss"] == both["train loss"]


@pytest.mark.parametrize(
    ("history", "options", "name"),
    [
        ([1, 2], {}, "history"),
        ({"epoch": [1]}, {}, "history"),
        ({"train_loss": [1.0]}, {}, "history"),
        ({"epoch": [1, 2], "train_loss": [1.0]}, {}, "history"),
        ({"epoch": [1], "train_loss": [None]}, {}, "columns"),
        (HISTORY, {"columns": "train_loss"}, "columns"),
        (HISTORY, {"columns": []}, "columns"),
        (HISTORY, {"columns": ["valid_loss"]}, "columns"),
        (HISTORY, {"best_epoch": "last"}, "best_epoch"),
    ],
)
def test_errors_name_the_argument(history: object, options: dict[str, object], name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        learning_curves(history, **options)
    assert error.value.argument == name


def test_a_run_is_as_good_as_its_history() -> None:
    run = pb.VAE(4, 1, 2).fit(torch.rand(8, 4).round(), epochs=3, seed=0)
    one, other = pb.plots.learning_curves(run), pb.plots.learning_curves(run.history)
    assert [line.get_ydata().tolist() for line in one.lines] == [line.get_ydata().tolist() for line in other.lines]
