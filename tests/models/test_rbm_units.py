"""The RBM model with each kind of units: documents, categories, real values."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import probae as pb
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import VISIBLE_UNITS, make_units
from probae.errors import ArgumentError, InfinitePartitionError, NoLikelihoodError

FALSE_ALARM = 1e-7


def documents(count: int = 60) -> Tensor:
    torch.manual_seed(0)
    words = torch.distributions.Multinomial(7, torch.tensor([0.5, 0.3, 0.1, 0.1])).sample((count,))
    return words + torch.eye(4)[torch.randint(4, (count,))] * torch.randint(1, 4, (count, 1))


def topics(scale: float = 1.0) -> pb.RBM:
    torch.manual_seed(1)
    rbm = pb.RBM(4, 3, "counts", negative_phase="exact").double()
    return rbm.set_parameters(*(scale * torch.randn(s, dtype=torch.float64) for s in ((4, 3), (4,), (3,))))


def brute_force(rbm: pb.RBM, length: int) -> tuple[Tensor, Tensor]:
    """All ordered documents of a length as counts, and their log-probabilities, hidden units summed by hand."""
    words = torch.eye(4).double()[torch.tensor(list(itertools.product(range(4), repeat=length)))].sum(1)
    h = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3))).double()
    joint = words @ rbm.weight @ h.T + (words @ rbm.visible_bias)[:, None] + length * (h @ rbm.hidden_bias)
    scores = joint.logsumexp(1)
    return words, (scores - scores.logsumexp(0)).detach()


def test_documents_have_the_likelihood_of_their_words() -> None:
    rbm, x = topics(), torch.tensor([[2.0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 0]]).double()
    logs = []
    for document in x:
        words, log_prob = brute_force(rbm, int(document.sum()))
        logs.append(log_prob[(words == document).all(1)])
    counts, ordered = torch.stack([v.logsumexp(0) for v in logs]), torch.stack([v[0] for v in logs])
    torch.testing.assert_close(rbm.log_likelihood(x).per_example, counts, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(rbm.log_likelihood(x, ordered=True).per_example, ordered, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(rbm.distribution().log_prob(x).detach(), counts, rtol=1e-9, atol=1e-9)
    assert rbm.log_likelihood(x).direction == "exact"
    log_z = (-rbm.free_energy(brute_force(rbm, 3)[0])).logsumexp(0).item()
    assert rbm.log_partition(length=3).value == pytest.approx(log_z, abs=1e-9)


def test_ais_agrees_for_each_length() -> None:
    rbm, x = topics(0.5), documents().double()
    rbm.prepare(x)
    exact = rbm.log_likelihood(x)
    ais = rbm.log_likelihood(x, "ais", num_chains=500, num_temperatures=200)
    assert ais.direction == "upper"
    assert ais.per_example is not None
    assert exact.per_example is not None
    assert (ais.per_example - exact.per_example).abs().max() < 0.05
    assert 0 < ais.stderr < 0.02


def test_each_length_has_random_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard error adds up those of the lengths as independent ones."""
    rbm, seeds, plain = topics(), list[int](), pb.RBM.log_partition

    def noted(self: pb.RBM, *args: Any, seed: int = 0, **options: Any) -> pb.Estimate:
        seeds.append(seed)
        return plain(self, *args, seed=seed, **options)

    monkeypatch.setattr(pb.RBM, "log_partition", noted)
    x = documents().double()
    rbm.log_likelihood(x, seed=3)
    assert seeds == [3 + int(length) for length in x.sum(1).unique()]


def test_one_log_z_is_not_that_of_every_length() -> None:
    machine = topics().distribution()
    with pytest.raises(ArgumentError, match=r"^log_partition: expected None for counts"):
        RestrictedBoltzmann(
            machine.weight, machine.visible_bias, machine.hidden_bias, visible=machine.visible,
            log_partition=topics().log_partition("exact", length=3),
        )  # fmt: skip


def test_sampled_documents_have_their_lengths() -> None:
    """Lengths of the data, or one; chi-square of 20,000 short ones against all ordered documents; false alarm 1e-7."""
    rbm, x = topics(0.5), documents().double()
    rbm.prepare(x)
    assert set(rbm.sample(500, steps=2).sum(1).tolist()) <= set(x.sum(1).tolist())
    torch.manual_seed(3)
    draws = rbm.sample(20_000, steps=30, length=2)
    words, log_prob = brute_force(rbm, 2)
    kinds = words.unique(dim=0)
    expected = torch.stack([log_prob[(words == kind).all(1)].logsumexp(0).exp() for kind in kinds]) * len(draws)
    counts = torch.stack([(draws == kind).all(1).sum() for kind in kinds])
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > FALSE_ALARM


@pytest.mark.parametrize("phase", ["pcd", "parallel_tempering", "trajectory_tempering"])
def test_chains_have_the_lengths_of_the_documents_whatever_the_parameters(phase: str) -> None:
    """The gradient of log Z depends on the length: chains of one word, as before any data, have another one."""
    rbm = pb.RBM(4, 3, "counts", negative_phase=phase)
    rbm.set_parameters(torch.randn(4, 3), torch.randn(4), torch.randn(3))
    before = rbm.visible_bias.clone()
    x = documents()
    rbm.prepare(x)
    chains: Any = rbm.negative_phase.chains
    lengths = chains.reshape(-1, 4).sum(1)
    assert set(lengths.tolist()) <= set(x.sum(1).tolist())
    assert lengths.unique().numel() > 1
    assert torch.equal(before, rbm.visible_bias)
    moved = chains.clone().fill_(2.0)
    chains.copy_(moved)
    rbm.prepare(x)
    assert torch.equal(chains, moved), "chains of a machine that knows its data stay"


def test_topics_are_learned() -> None:
    """Two topics of two words each: the likelihood of documents that do not mix them approaches the truth."""
    torch.manual_seed(4)
    topic = torch.randint(2, (400, 1))
    rates = torch.where(topic == 0, torch.tensor([0.45, 0.45, 0.05, 0.05]), torch.tensor([0.05, 0.05, 0.45, 0.45]))
    x = torch.distributions.Multinomial(12, rates).sample()
    rbm = pb.RBM(4, 2, "counts", negative_phase="cd")
    rbm.fit(x, epochs=60, batch_size=100, learning_rate=0.02, seed=0)
    both = torch.tensor([[0.45, 0.45, 0.05, 0.05], [0.05, 0.05, 0.45, 0.45]])
    truth = torch.stack([torch.distributions.Multinomial(12, r).log_prob(x) for r in both]).logsumexp(0) - math.log(2)
    independent = torch.distributions.Multinomial(12, x.mean(0) / 12).log_prob(x).mean()
    value = rbm.log_likelihood(x).value
    assert independent + 1.0 < value
    assert value > truth.mean().item() - 0.1


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [
        ("gaussian", "bernoulli"), ("gaussian", "gaussian"), ("relu", "bernoulli"), ("bernoulli", "gaussian"),
        ("bernoulli", "relu"), ({"name": "categorical", "num_categories": 2}, "bernoulli"),
        ({"name": "gaussian", "scale": "learned"}, {"name": "categorical", "num_categories": 2}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("temperatures", [1, 4])
def test_the_mean_weight_of_ais_is_z(visible: Any, hidden: Any, temperatures: int) -> None:
    """At any number of temperatures; a z-test over 40,000 chains, false alarm 1e-7."""
    torch.manual_seed(5)
    rbm = pb.RBM(4, 2, visible, hidden).double()
    rbm.set_parameters(*(0.3 * torch.randn(s, dtype=torch.float64) for s in ((4, 2), (4,), (2,))))
    exact = rbm.log_partition("exact")
    ais = rbm.log_partition(
        "ais", base=torch.full((4,), 0.4).double(), num_chains=40_000, num_temperatures=temperatures
    )
    assert abs(ais.value - exact.value) < stats.norm.isf(FALSE_ALARM / 2) * ais.stderr + 1e-9
    assert ais.stderr < 0.05


def test_a_gaussian_machine_is_a_factor_analyser() -> None:
    """Gaussian units on both sides: v is normal with the covariance (I - WW')^-1."""
    torch.manual_seed(6)
    rbm = pb.RBM(3, 2, "gaussian", "gaussian").double()
    weight, a, b = (0.4 * torch.randn(s, dtype=torch.float64) for s in ((3, 2), (3,), (2,)))
    rbm.set_parameters(weight, a, b)
    covariance = torch.linalg.inv(torch.eye(3).double() - weight @ weight.T)
    mean = covariance @ (a + weight @ b)
    x = torch.randn(5, 3).double()
    truth = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    torch.testing.assert_close(rbm.log_likelihood(x).per_example, truth)
    rbm.fit(x, epochs=1)


def test_infinite_machines_are_refused_wherever_they_would_be_used() -> None:
    rbm = pb.RBM(2, 2, "gaussian", "gaussian", "cd")
    rbm.set_parameters(torch.eye(2), torch.zeros(2), torch.zeros(2))
    x = torch.randn(20, 2)
    for use in (lambda: rbm.log_partition(), lambda: rbm.sample(2), lambda: rbm.log_likelihood(x)):
        with pytest.raises(InfinitePartitionError, match="weight decay"):
            use()
    with pytest.raises(InfinitePartitionError):
        rbm.fit(x, valid=x, epochs=1)


def test_learned_scales_find_the_noise() -> None:
    torch.manual_seed(7)
    noise = torch.tensor([0.5, 0.6, 1.0])
    x = 2.0 * torch.randint(2, (1000, 1)) * torch.tensor([1.0, 1.0, -1.0]) + noise * torch.randn(1000, 3)
    rbm = pb.RBM(3, 1, {"name": "gaussian", "scale": "learned"}, negative_phase="exact")
    rbm.fit(x, epochs=150, batch_size=100, learning_rate=0.1, schedule="linear", seed=0)
    torch.testing.assert_close(rbm.visible.scale.detach(), noise, rtol=0.1, atol=0.02)  # type: ignore[union-attr]


def test_past_machines_would_not_keep_a_learned_scale() -> None:
    with pytest.raises(ArgumentError, match=r"^negative_phase: expected another one beside a learned scale"):
        pb.RBM(4, 3, {"name": "gaussian", "scale": "learned"}, negative_phase="trajectory_tempering")


@pytest.mark.parametrize("visible", ["bernoulli", {"name": "gaussian", "scale": 3.0}])
def test_layers_do_what_the_machine_does(visible: Any) -> None:
    torch.manual_seed(0)
    rbm, x = pb.RBM(4, 3, visible), torch.rand(5, 4).round()
    rbm.set_parameters(torch.randn(4, 3), torch.randn(4), torch.randn(3))
    (up,), (down,) = rbm.unrolled()
    codes = (x @ up.weight.T + up.bias).sigmoid()
    torch.testing.assert_close(codes, rbm.embed(x))
    means = codes @ down.weight.T + down.bias
    assert down.nonlinearity == ("sigmoid" if visible == "bernoulli" else "linear")
    torch.testing.assert_close(means.sigmoid() if visible == "bernoulli" else means, rbm.reconstruct(x))
    torch.testing.assert_close(rbm.classifier(2).encoder(x).sigmoid(), codes)


def test_units_that_no_layer_stands_for_are_refused() -> None:
    for hidden in ("relu", "gaussian", {"name": "categorical", "num_categories": 2}):
        rbm = pb.RBM(4, 2, hidden=hidden)
        for use in (rbm.unrolled, lambda rbm=rbm: rbm.classifier(3)):
            with pytest.raises(ArgumentError, match=r"^hidden: expected bits"):
                use()
    with pytest.raises(ArgumentError, match=r"^visible: expected bits or real values"):
        pb.RBM(4, 3, {"name": "categorical", "num_categories": 2}).unrolled()
    with pytest.raises(ArgumentError, match=r"^visible: expected units other than counts"):
        pb.RBM(4, 3, "counts").classifier(3)


def test_documents_are_not_compared_by_their_free_energies() -> None:
    with pytest.raises(NoLikelihoodError, match="different lengths"):
        topics().anomaly_score(documents().double())


def test_a_category_without_probability_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by the smallest random number, which is 0."""
    units = make_units("visible", {"name": "categorical", "num_categories": 2}, VISIBLE_UNITS, 2)
    monkeypatch.setattr(torch, "rand_like", lambda like: torch.tensor([0.5, 0.0]).expand_as(like))
    assert units.sample(torch.tensor([[0.0, -40.0]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("visible", ["counts", "gaussian", {"name": "categorical", "num_categories": 2}])
def test_save_and_load(visible: Any, tmp_path: Path) -> None:
    pairs = torch.eye(2)[torch.randint(2, (50, 2))].flatten(1)
    x = {"counts": documents(), "gaussian": torch.randn(50, 4)}.get(str(visible), pairs)
    rbm = pb.RBM(4, 2, visible, "relu", centering=True)
    rbm.fit(x, epochs=2, seed=0)
    rbm.save(tmp_path / "rbm")
    again = pb.load(tmp_path / "rbm")
    assert again.config == rbm.config
    torch.testing.assert_close(again.embed(x), rbm.embed(x))
    for name, tensor in rbm.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("use", "argument"),
    [
        (lambda rbm: rbm.log_partition(), "length"),
        (lambda rbm: rbm.log_partition(length=0), "length"),
        (lambda rbm: rbm.sample(2, length=0), "length"),
        (lambda rbm: rbm.sample(given=torch.ones(1, 4), mask=torch.ones(4, dtype=torch.bool)), "given"),
        (lambda rbm: pb.RBM(4, 3).sample(2, length=3), "length"),
        (lambda rbm: pb.RBM(4, 3).log_partition(length=3), "length"),
        (lambda rbm: pb.RBM(4, 3, hidden="counts"), "hidden"),
        (lambda rbm: rbm.log_partition("ais", base=-torch.ones(4), length=2), "base"),
    ],
)
def test_what_does_not_fit_the_units_is_refused(use: Any, argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: "):
        use(topics())


def test_categories_are_clamped_as_a_whole() -> None:
    rbm = pb.RBM(4, 3, {"name": "categorical", "num_categories": 2})
    given = torch.tensor([[1.0, 0.0, torch.nan, torch.nan]])
    drawn = rbm.sample(given=given.expand(50, -1), mask=torch.tensor([True, True, False, False]), steps=3)
    assert torch.equal(drawn[:, :2], given[:, :2].expand(50, -1))
    assert torch.equal(drawn[:, 2:].sum(1), torch.ones(50))
    with pytest.raises(ArgumentError, match="mask: expected all categories"):
        rbm.sample(given=given, mask=torch.tensor([True, False, False, False]))
