"""The classification RBM: a Boltzmann machine over examples and their label, whose p(y given x) is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, final

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from probae import checks
from probae.data import Dataset
from probae.distributions.enumeration import exact_log_partition
from probae.distributions.labelled import LabelledBoltzmann
from probae.distributions.units import HIDDEN_UNITS, BernoulliUnits, CategoricalUnits, JointUnits, Units, make_units
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor, mean_over
from probae.errors import ArgumentError, NoLikelihoodError
from probae.evaluation.energy import log_likelihood_of_energy
from probae.evaluation.estimate import Estimate
from probae.inference.elbo import ELBO
from probae.inference.negative_phases import NegativePhase
from probae.inference.objective import Objective
from probae.inference.weighted import Weighted
from probae.models.base import Data, examples_of, protocol_of
from probae.models.labelling import LabelModel
from probae.models.labels import check_labels, integers, one_hot
from probae.models.observed import check_mask
from probae.models.rbm import RBM
from probae.models.rows import in_parts, pair_of

_QUANTITIES = ("x, y", "x", "y")


@final
class ClassRBM(LabelModel):
    """A restricted Boltzmann machine over examples x and their label y, a one-hot vector beside them,

        p(x, y) = exp(-F(x, y)) / Z,  p(y given x) = softmax over y of -F(x, y),

    the hidden units summed out in F; for bits F(x, y) = -a'x - d_y - sum_j softplus(b_j + (x'W)_j + U_yj). The second
    is exact and needs no Z, so that one machine generates, classifies, draws examples of a label, and learns from
    examples of unknown label (y = -1), which is summed out.

    Its guide is empty, and its sites are p(x) and p(y given x). By default training maximizes log p(x, y), with log Z
    through the negative phase; `objective(generative=)` weighs p(x), down to p(y given x) alone, which has an exact
    gradient. `monitor()` is log p(y given x) or the accuracy.

    To tune the encoder of an RBM as a network with a softmax on top instead, see `RBM.classifier`.

    Args:
        data_shape: of one example; its size is D.
        num_hidden: number of hidden units, H.
        num_labels: number of classes, K.
        visible: kind of the units of x: "bernoulli", "gaussian", "relu", {"name": "categorical", ...}, see `pb.RBM`.
        hidden: kind of the hidden units.
        negative_phase: `pb.PCD()` by default, see `pb.RBM`; its particles are examples with their labels.

    Attributes:
        joint: the `pb.RBM` over D + K visible units, the label's last: `joint.weight` is (D + K, H).

    Raises:
        ArgumentError: names the argument.

    Source:
        Larochelle and Bengio 2008, "Classification using discriminative restricted Boltzmann machines"; Larochelle et
        al. 2012, "Learning algorithms for the classification restricted Boltzmann machine".

    Example:
        >>> import probae as pb
        >>> _ = torch.manual_seed(0)
        >>> digits = pb.data.load("digits")
        >>> rbm = ClassRBM(64, num_hidden=32, num_labels=10)
        >>> objective = rbm.objective(generative=0.05)
        >>> run = rbm.fit(digits.train, objective=objective, optimizer="adam", learning_rate=0.01, epochs=25, seed=0)
        >>> rbm.error_rate(digits.test) < 0.2
        True
        >>> rbm.sample(y=[3, 3], steps=10).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        num_hidden: int,
        num_labels: int,
        visible: Units | str | dict[str, Any] = "bernoulli",
        hidden: Units | str | dict[str, Any] = "bernoulli",
        negative_phase: NegativePhase | str | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_shape)
        self.num_labels = checks.positive_int("num_labels", num_labels, minimum=2)
        units = make_units("visible", visible, HIDDEN_UNITS, self.num_visible)
        if units.counts:
            raise ArgumentError("visible", "units without a length", "counts")
        sides = JointUnits([units, CategoricalUnits(self.num_labels, self.num_labels)])
        self.joint = RBM(self.num_visible + self.num_labels, num_hidden, sides, hidden, negative_phase)
        self.num_hidden, self.fit_defaults = self.joint.num_hidden, self.joint.fit_defaults  # type: ignore[misc]

    # The pair.

    def model(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """p(x) p(y given x), y = -1 summed out. Without x, draws both by Gibbs sampling. Returns x, (N, D)."""
        self.refuse(mask=mask, lengths=lengths, **({"y": y} if x is None else {}))
        self.register()
        if x is None:
            machine = LabelledBoltzmann(self.joint.distribution())
            with self.plate(num_examples):
                x = pyro.sample("x", machine)
                pyro.sample("y", dist.Categorical(logits=machine.label_logits(x)))
            return x
        x = self.rows(x)
        y = self._labels("y", y, len(x)) if is_validation_enabled() or y is None else y
        machine = LabelledBoltzmann(self.joint.distribution(), self._one_hot(y))
        with self.plate(len(x)):
            labels = dist.Categorical(logits=machine.label_logits(x))
            pyro.sample("x", machine, obs=x)
            pyro.sample("y", labels.mask(y >= 0), obs=y.clamp(min=0).long())
        return x

    def guide(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> None:  # fmt: skip
        """Empty: nothing is latent but h, which is summed out."""
        self.refuse(mask=mask, lengths=lengths)

    # What it declares.

    def check(self, argument: str, x: Tensor) -> None:
        self._units.check(argument, x)

    def prepare(self, data: Any) -> Self:
        """Keep the means of examples and labels, where AIS starts, and start biases and chains there; see `pb.RBM`."""
        x, y = self.arguments("data", data)
        rates = torch.bincount(y[y >= 0], minlength=self.num_labels) + 1.0
        drawn = torch.multinomial(rates, len(y), replacement=True)
        label = self._one_hot(torch.where(y < 0, drawn, y))
        self.joint.prepare(torch.cat([self.examples("data", x), label], -1))
        return self

    def objective(self, generative: float = 1.0) -> Objective:
        """The ELBO, log p(x, y), or one in which p(x) weighs less or more: log p(y given x) + generative log p(x).

        At 0 training is discriminative: no negative phase, and the biases of x have no gradient. Between 0 and 1 it is
        the hybrid of Larochelle and Bengio: log p(y given x) + alpha log p(x, y), up to a factor, has
        generative = alpha / (1 + alpha). The loss is a likelihood's at 1 only.

        Args:
            generative: the weight of log p(x), from zero up; of unlabelled examples too.
        """
        weight = checks.real("generative", generative, low=0.0)
        return ELBO() if weight == 1 else Weighted({"x": weight})

    def monitor(self, name: str = "classification") -> Monitor:
        """What is known of validation labels, which are known; both kinds choose the best epoch.

        Args:
            name: "classification", the mean log p(y given x) in nats; "accuracy", the share of right labels; or
                "log_likelihood", the mean log p(x, y) with log Z by enumeration.
        """
        if checks.choice("name", name, ("classification", "accuracy", "log_likelihood")) == "log_likelihood":
            return Monitor(name, self._exact)
        return self._label_monitor(name, accuracy=name == "accuracy")

    # Its verbs.

    def embed(self, x: Data, y: Any = None) -> Tensor:
        """E[h given x, y], (N, H); where the label is unknown or not given, E[h given x], y summed out."""
        with self.evaluating():
            x, label = self._rows_and_labels(x, y)
            return in_parts(self._embed, x, label)

    def reconstruct(self, x: Data, y: Any = None) -> Tensor:
        """The means of x given the hidden means of each example (mean field, one step down): (N, D)."""
        with self.evaluating():
            return self._over_x().unlabelled.visible_mean(self.embed(x, y))

    def free_energy(self, x: Data, y: Any = None) -> Tensor:
        """F(x, y) in nats, (N,); where the label is unknown or not given, F(x) = -log sum_y exp(-F(x, y))."""
        with self.evaluating():
            x, label = self._rows_and_labels(x, y)
            machine = self._over_x().unlabelled
            logits = _given(self._logits(x), label)
            return machine.visible.energy(x, machine.visible_bias) - logits.logsumexp(-1)

    def anomaly_score(self, x: Data, y: Any = None, **options: Any) -> Tensor:
        """How strange each example is, with its label if that is given: its free energy, -log p but for log Z."""
        self.refuse(**options)
        return self.free_energy(x, y)

    def anomaly_map(self, x: Data, y: Any = None) -> Tensor:
        """How strange each bit is beside all others, and the label if given: -log p(x_i given the rest), (N, D).

        Raises:
            NoLikelihoodError: for units other than bits.
        """
        x, label = self._rows_and_labels(x, y)
        if not isinstance(self._units, BernoulliUnits):
            raise NoLikelihoodError("the likelihood of one unit given all others has a closed form for bits only")
        with self.evaluating():
            return in_parts(self._flips, x, label)

    def log_partition(self, method: str | None = None, **options: Any) -> Estimate:
        """log Z of the joint machine; see `RBM.log_partition`."""
        return self.joint.log_partition(method, **options)

    def log_likelihood(
        self, data: Any, method: str | None = None, *, y: Any = None, of: str = "x, y", **options: Any
    ) -> Estimate:
        """The mean log-likelihood in nats per example: of examples with their labels, or of one of the two.

        Args:
            data: a data set, a pair (x, y), or examples alone.
            method: of log Z, and `options` are its options: see `RBM.log_partition`.
            y: labels, where `data` has none.
            of: "x, y" for log p(x, y); "x" for log p(x), the label summed out; "y" for log p(y given x), which is
                exact, needs no Z, and leaves out unknown labels. The first has log p(x) where a label is unknown; its
                protocol says so.
        """
        x = pair_of(data)[0]
        if checks.choice("of", of, _QUANTITIES) == "y":
            self.refuse(method=method, **options)
            return self._log_likelihood_of_labels(data, y, "p(y given x) of a classification RBM needs no Z")
        if of == "x":
            self.refuse(y=y)
            self.examples("data", x)
        else:
            x, y = self.arguments("data", data if y is None else (x, y))
            of += "" if bool((y >= 0).all()) else " where known"
        protocol = replace(protocol_of(x), of=of)
        return log_likelihood_of_energy(-self.free_energy(x, y), self.log_partition(method, **options), protocol)

    def sample(
        self, num_examples: int | None = None, *, y: Any = None, given: Tensor | None = None,
        mask: Tensor | None = None, steps: int = 1000,
    ) -> Tensor:  # fmt: skip
        """Examples after Gibbs sampling, (N, D): free, of given labels, or with observed units clamped.

        `classify` of them draws their labels exactly.

        Args:
            num_examples: how many chains; 1 by default, or one for each label or row of `given`.
            y: labels, clamped: a number for all, or (N,).
            given, mask: (N, D) values of observed units, and (D,) or (N, D), True where one is; see `RBM.sample`.
            steps: Gibbs steps of each.

        Raises:
            ArgumentError, DataError: name the argument.
        """
        if (given is None) != (mask is None):
            raise ArgumentError("mask", "given= and mask= together", "one of them")
        if given is None and y is None:
            return self.joint.sample(num_examples, steps=steps)[:, : self.num_visible]
        labels = torch.tensor(-1) if y is None else integers("y", y)
        rows = None if given is None else checks.rows("given", given, self.data_shape)
        size = labels.numel() if rows is None else len(rows)
        count = checks.positive_int("num_examples", size if num_examples is None else num_examples)
        if rows is not None and count != size:
            raise ArgumentError("num_examples", f"{size}, the length of given", count)
        label = self._one_hot(check_labels("y", labels, count, self.num_labels, unknown=y is None))
        rows = label.new_zeros(count, self.num_visible) if rows is None else rows.to(label)
        seen = rows.new_zeros(rows.shape, dtype=torch.bool)
        seen = seen if mask is None else check_mask(mask, count, self.data_shape).to(seen.device)
        seen = torch.cat([seen, torch.full_like(label, y is not None, dtype=torch.bool)], -1)
        return self.joint.sample(given=torch.cat([rows, label], -1), mask=seen, steps=steps)[:, : self.num_visible]

    def inpaint(self, x: Data, mask: Any, *, y: Any = None, steps: int = 1000) -> Tensor:
        """Fill in what is not observed, by Gibbs sampling with the observed units and the label clamped: (N, D)."""
        return self.sample(given=x.tensor if isinstance(x, Dataset) else x, mask=mask, y=y, steps=steps)  # type: ignore[arg-type]

    @property
    def config(self) -> dict[str, Any]:
        return {
            "data_shape": list(self.data_shape), "num_hidden": self.num_hidden, "num_labels": self.num_labels,
            "visible": self._units.config, "hidden": self.joint.hidden.config,
            "negative_phase": self.joint.negative_phase.config,
        }  # fmt: skip

    # Details.

    @property
    def _units(self) -> Units:
        return self.joint.visible.parts[0]

    def _over_x(self) -> LabelledBoltzmann:
        return LabelledBoltzmann(self.joint.distribution())

    def _logits(self, x: Tensor) -> Tensor:
        machine = self._over_x()
        return in_parts(lambda rows, _: machine.label_logits(rows), x)

    def _embed(self, x: Tensor, label: Tensor | None) -> Tensor:
        machine = self._over_x()
        inputs = machine.hidden_inputs(x)
        shares = _given(machine.logits_of(inputs), label).softmax(-1)
        return (shares.unsqueeze(-1) * machine.joint.hidden.mean(inputs)).sum(-2)

    def _flips(self, x: Tensor, label: Tensor | None) -> Tensor:
        """-log p(x_i given all others) of each bit."""
        over_x = self._over_x()
        machine, inputs, change = over_x.unlabelled, over_x.hidden_inputs(x), 1 - 2 * x
        before = _given(over_x.logits_of(inputs), label).logsumexp(-1)
        gains = []
        for flips, row, bias in zip(change.T, machine.weight, machine.visible_bias, strict=True):
            logits = over_x.logits_of(inputs + flips[:, None, None] * row)
            gains.append(_given(logits, label).logsumexp(-1) - before + flips * bias)
        return F.softplus(torch.stack(gains, -1))

    def _exact(self, batches: Any) -> Tensor:
        log_z = exact_log_partition(self.joint.distribution())

        def score(batch: Batch) -> Tensor:
            x, y = examples_of(batch), self._given_labels(batch)
            return -self.free_energy(x, y).mean() - log_z

        return mean_over(batches, score)

    def _one_hot(self, y: Tensor) -> Tensor:
        """(N, K), all zero for -1."""
        return one_hot(y.to(self.device), self.num_labels).to(self.dtype)

    def _rows_and_labels(self, x: Data, y: Any) -> tuple[Tensor, Tensor | None]:
        """Examples (N, D), and their labels as one-hot vectors, if they are given."""
        rows = self.examples("x", x)
        return rows, None if y is None else self._one_hot(self._labels("y", y, len(rows)))


def _given(logits: Tensor, label: Tensor | None) -> Tensor:
    """Logits (N, K) of labels, minus infinity for those that are known not to be, by one-hot vectors or zeros."""
    if label is None:
        return logits
    return torch.where((label > 0) | ~label.any(-1, keepdim=True), logits, -torch.inf)
