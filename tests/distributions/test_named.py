"""Parts by name, by configuration, or as themselves."""

from __future__ import annotations

from typing import Any

import pytest

from probae.distributions.guides import GUIDES, Delta, GuideFamily
from probae.distributions.named import make
from probae.errors import ArgumentError


def guide(value: Any) -> GuideFamily:
    return make("guide", value, GuideFamily, GUIDES, 3)


def test_a_part_is_what_its_name_configuration_or_object_says() -> None:
    own = Delta(5)
    assert guide(own) is own
    assert guide("delta").config == {"name": "delta", "nonlinearity": "relu"}
    assert guide({"name": "delta", "nonlinearity": "linear"}).config["nonlinearity"] == "linear"
    settings = {"name": "diagonal"}
    guide(settings)
    assert settings == {"name": "diagonal"}, "the configuration is left as it was"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("diagnal", "guide: expected one of 'delta', 'diagonal', .*; got 'diagnal'. Did you mean 'diagonal'"),
        (None, "guide: expected a name or a GuideFamily; got None"),
        (Delta, "guide: expected a name or a GuideFamily"),
        ({}, "guide: expected a name or a GuideFamily; got {}"),
        ({"name": 3}, "guide: expected a name or a GuideFamily"),
        ({"name": "diagonal", "scale": 1}, r"guide: expected settings that 'diagonal' has \(none\); got scale"),
        ({"name": "delta", "latent_dim": 4}, r"\(nonlinearity, top_k, noise\); got latent_dim"),
    ],
)
def test_anything_else_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        guide(value)
