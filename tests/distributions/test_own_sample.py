"""A sample's own log-density is known for that very tensor alone."""

from __future__ import annotations

import torch

from probae.distributions.own_sample import OwnSample, standard_log_prob


def test_nothing_is_known_before_a_sample() -> None:
    assert OwnSample().log_prob(torch.zeros(2)) is None


def test_any_other_tensor_is_unknown() -> None:
    z, value = torch.zeros(2, requires_grad=True) * 1.0, torch.tensor(3.0)
    own = OwnSample(z, value)
    assert own.log_prob(z) is value
    for other in (z.detach(), z.clone(), z.view_as(z), z + 0, z[:1]):
        assert own.log_prob(other) is None


def test_a_sample_that_was_written_to_is_unknown() -> None:
    z = torch.zeros(2)
    own = OwnSample(z, torch.tensor(3.0))
    z[0] = 1.0
    assert own.log_prob(z) is None


def test_a_sample_drawn_without_gradients_is_unknown_where_they_are_wanted() -> None:
    z, value = torch.zeros(2), torch.tensor(3.0)
    with torch.no_grad():
        own = OwnSample(z, value)
        assert own.log_prob(z) is value
    assert own.log_prob(z) is None


def test_a_tensor_that_does_not_count_its_changes_is_not_remembered() -> None:
    with torch.inference_mode():
        z = torch.zeros(2)
        assert OwnSample(z, torch.tensor(3.0)).log_prob(z) is None


def test_the_standard_normal_density() -> None:
    e = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(standard_log_prob(e), torch.distributions.Normal(0.0, 1.0).log_prob(e).sum(-1))
