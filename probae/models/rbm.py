"""The restricted Boltzmann machine as a model: an energy, trained through the same ELBO with an empty guide."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, ClassVar, Self, final

import pyro
import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.bits import random_bits
from probae.distributions.named import make
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import HIDDEN_UNITS, VISIBLE_UNITS, BernoulliUnits, GaussianUnits, Units, make_units
from probae.engine.monitor import Monitor
from probae.errors import ArgumentError, DataError, NoLikelihoodError
from probae.evaluation.monitors import machine_monitor
from probae.evaluation.pseudo_likelihood import conditional_log_probs
from probae.inference.centering import Centering
from probae.inference.negative_phases import CD, PCD, NegativePhase
from probae.inference.phases import PHASES
from probae.inference.running import RunningWeights
from probae.models.base import Data, examples_in
from probae.models.classifier import Classifier
from probae.models.machine import Machine
from probae.networks.unrolled import Layer, Unrolled, affine

_QUANTILES = 257  # of the lengths of documents


@final
class RBM(Machine):
    """A restricted Boltzmann machine over visible units v, with the hidden units h summed out,

        p(v) = exp(-F(v)) / Z,  F(v) = -log sum_h exp(-E(v, h)),

    for bits E(v, h) = -v'Wh - a'v - b'h and F(v) = -a'v - sum_j softplus(b_j + (v'W)_j).

    Its guide is empty: the sum over h is exact. The ELBO of this pair is log p(v), and the gradient of log Z comes
    from the negative phase, so that the engine, or Pyro's SVI, trains it like any other model. Without an estimate of
    log Z the training loss is no likelihood; `monitor()` says what validation reports: the exact log-likelihood where
    the smaller side can be enumerated quickly, else the one with the log Z of `running_chains`, the pseudo-likelihood
    (of bits and categories), or how well the hidden means restore the data; by these no epoch is chosen.

    Units are "bernoulli" (bits), "gaussian" (real values; {"name": "gaussian", "scale": s}, or scale "learned"),
    "relu" (truncated normals, from zero up), {"name": "categorical", "num_categories": K} (one-hot vectors) and,
    visible only, "counts" (words of documents of any length: the replicated softmax). Between Gaussian and ReLU units Z
    may be infinite, which estimates, samples and monitors refuse.

    Args:
        data_shape: of one example; its size is the number of visible units, D.
        num_hidden: number of hidden units, H.
        visible: kind of the visible units, or the units themselves.
        hidden: kind of the hidden units, or the units themselves.
        negative_phase: `pb.PCD()` by default (for counts `pb.CD()`: documents mix slowly), `pb.ParallelTempering()`,
            `pb.TrajectoryTempering()` or `pb.Exact()`, or their names; a copy is kept.
        centering: train along the centred gradient, see `probae.inference.centering`.
        running_chains: how many chains keep an estimate of log Z while the machine trains, 100 say, which
            `log_partition("running")` reads at any time and `monitor()` uses; 0 for none. See
            `probae.inference.running`.
        dropout: the rate r at which hidden units are silenced in training, for contrastive divergence alone: a unit's
            weights are multiplied by 0 with probability r, else by 1 / (1 - r), for each example anew, and alike for
            the particle that starts there. What is evaluated, sampled and saved has the mean weights, W, and so has
            `distribution()` as a site of another program.

    Attributes:
        weight: (D, H) parameter. visible_bias: (D,). hidden_bias: (H,).

    Raises:
        ArgumentError: names the argument.

    Source:
        Smolensky 1986; Hinton 2002 (contrastive divergence); Tieleman 2008 (PCD); Hinton 2010, "A practical guide to
        training restricted Boltzmann machines", for the initial values; Welling et al. 2004 for other units;
        Salakhutdinov and Hinton 2009, "Replicated softmax", for counts; Srivastava et al. 2014, "Dropout", section 8
        (there the weights are scaled after the training, not in it).

    Example:
        >>> import torch
        >>> from probae.data import load
        >>> _ = torch.manual_seed(0)
        >>> patterns = load("bars_and_stripes", size=3).train
        >>> rbm = RBM(9, 12)
        >>> run = rbm.fit(patterns, epochs=20, seed=0)
        >>> rbm.log_likelihood(patterns).direction
        'exact'
        >>> rbm.sample(5, steps=10).shape
        torch.Size([5, 9])
    """

    fit_defaults: ClassVar[dict[str, Any]] = {"optimizer": partial(torch.optim.SGD, lr=0.05, momentum=0.5)}

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        num_hidden: int,
        visible: Units | str | dict[str, Any] = "bernoulli",
        hidden: Units | str | dict[str, Any] = "bernoulli",
        negative_phase: NegativePhase | str | dict[str, Any] | None = None,
        centering: bool = False,
        running_chains: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(data_shape)
        self.num_hidden = checks.positive_int("num_hidden", num_hidden)
        self.visible = make_units("visible", visible, VISIBLE_UNITS, self.num_visible)
        self.hidden = make_units("hidden", hidden, HIDDEN_UNITS, self.num_hidden)
        if not (self.visible.linear and self.hidden.linear):  # then gradients are of all sizes
            self.fit_defaults = {"optimizer": partial(torch.optim.Adam, lr=1e-3)}  # type: ignore[misc]
        self.weight = nn.Parameter(0.01 * torch.randn(self.num_visible, self.num_hidden))
        self.visible_bias = nn.Parameter(torch.zeros(self.num_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(self.num_hidden))
        phase = (CD() if self.visible.counts else PCD()) if negative_phase is None else negative_phase
        self.negative_phase = copy.deepcopy(make("negative_phase", phase, NegativePhase, PHASES))
        self.negative_phase.allocate(self._bare())
        self.dropout = checks.real("dropout", dropout, low=0.0, high=1.0, open_high=True)
        if self.dropout and not isinstance(self.negative_phase, CD):
            wanted = "0, or negative_phase='cd', whose particles share the units of an example each"
            raise ArgumentError("dropout", wanted, f"{dropout} beside {self.negative_phase}")
        self.running = self._running(running_chains)
        self.centering = Centering(self.num_visible, self.num_hidden) if centering else None
        self.register_buffer("mean_rates", torch.full((self.num_visible,), torch.nan))
        self.register_buffer("lengths", torch.ones(_QUANTILES) if self.visible.counts else None)

    # The pair.

    def model(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """p(v), the hidden units summed out. Without x, draws by Gibbs sampling. Returns v, (N, D)."""
        self.refuse(mask=mask, lengths=lengths)
        self.register()
        observed = None if x is None else self.rows(x)
        count, machine = num_examples if observed is None else len(observed), self.distribution()
        if self.dropout and self.training and torch.is_grad_enabled():
            stay = self.weight.new_full((count, self.num_hidden), 1 - self.dropout)
            machine = machine.thinned(random_bits(stay) / stay)
        with self.plate(count):
            return pyro.sample("x", machine, obs=observed)

    def guide(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> None:  # fmt: skip
        """Empty: p(h given v) is exact and summed out."""
        self.refuse(mask=mask, lengths=lengths)

    def distribution(self) -> RestrictedBoltzmann:
        """The machine as a Pyro distribution, to be a site of any program."""
        learning = self.training and torch.is_grad_enabled()
        return RestrictedBoltzmann(
            self.weight, self.visible_bias, self.hidden_bias, visible=self.visible, hidden=self.hidden,
            negative_phase=self.negative_phase, log_partition=None if learning else self._current(),
            training=self.training, centering=self.centering, running=self.running,
        )  # fmt: skip

    # What it declares.

    def check(self, argument: str, x: Tensor) -> None:
        self.visible.check(argument, x)

    def prepare(self, data: Any) -> Self:
        """Keep the data's means, where AIS starts, and documents' lengths; start biases and chains there.

        Parameters and chains move only if the visible biases are all zero still: those of a trained machine stay. (But
        chains of documents, which had no lengths before, start with the first data.)
        """
        x, first = self.examples("data", examples_in(data)), bool(self.mean_rates.isnan().any())
        with torch.no_grad():
            self.mean_rates.copy_(x.mean(0))
            if self.lengths is not None:
                shares = torch.linspace(0, 1, _QUANTILES, device=x.device, dtype=x.dtype)
                self.lengths.copy_(x.sum(1).quantile(shares, interpolation="nearest"))
            if self.centering is not None:
                means = self.mean_rates if self.lengths is None else self.mean_rates / x.sum(1).mean()
                self.centering.visible_offset.copy_(means)
            untrained = not bool(self.visible_bias.any())
            if untrained:
                self.visible.start(x)
                self.visible_bias.copy_(self.visible.bias_for(self.mean_rates))
            if untrained or (first and self.visible.counts):  # before, chains of documents do not know their lengths
                self.negative_phase.start(self._independent, self.visible.bias_for(self.mean_rates))
            if untrained and self.running is not None:
                self.running.start(self._bare(), self.visible_bias)
        return self

    def monitor(self) -> Monitor:
        """What `probae.evaluation.monitors.machine_monitor` finds."""
        return machine_monitor(self.distribution, self.rows)

    # Its verbs.

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) in nats: (N,) for visible values v (N, D) and hidden values h (N, H)."""
        h = checks.examples("h", h, (self.num_hidden,))
        self.hidden.check("h", h)
        v = self.examples("v", v)
        if len(v) != len(h):
            raise DataError("h", f"{len(v)} rows, as many as v", f"{len(h)}")
        return self.distribution().energy(v, h.to(v))

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log sum_h exp(-E(v, h)), in nats: (N,) for visible values v (N, D)."""
        return self.distribution().free_energy(self.examples("v", v))

    def embed(self, x: Data) -> Tensor:
        """E[h given v] for examples (N, D): (N, H); of bits, p(h_j = 1 given v)."""
        with self.evaluating():
            return self.distribution().hidden_mean(self.examples("x", x))

    def reconstruct(self, x: Data) -> Tensor:
        """Visible means given the hidden means of each example (mean field, one step down): (N, D)."""
        with self.evaluating():
            x = self.examples("x", x)
            return self.distribution().visible_mean(self.embed(x), self.visible.length(x))

    def anomaly_score(self, x: Data, **options: Any) -> Tensor:
        """How strange each example is, (N,), in nats: its free energy, -log p(v) but for the constant log Z.

        Raises:
            NoLikelihoodError: for counts, since log Z depends on the length of a document.
        """
        self.refuse(**options)
        if self.visible.counts:
            raise NoLikelihoodError(
                "free energies of documents of different lengths cannot be compared; log_likelihood(x).per_example can"
            )
        with self.evaluating():
            return self.distribution().free_energy(self.examples("x", x))

    def anomaly_map(self, x: Data) -> Tensor:
        """How strange each bit is beside all others: -log p(v_i given the rest), (N, D), exactly; it needs no log Z.

        Raises:
            NoLikelihoodError: for visible units other than bits.
        """
        x = self.examples("x", x)
        if not isinstance(self.visible, BernoulliUnits):
            raise NoLikelihoodError("the likelihood of one unit given all others has a closed form for bits only")
        with self.evaluating():
            return -conditional_log_probs(self.distribution(), x)

    def set_parameters(self, weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Self:
        """Take parameters from elsewhere: (D, H), (D,) and (H,), copied.

        Raises:
            ArgumentError: names the one with another shape or dtype, or with NaN; nothing is changed then.
        """
        given = {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
        for name, value in given.items():
            shape = getattr(self, name).shape
            if not isinstance(value, Tensor) or value.shape != shape:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ArgumentError(name, f"a tensor of shape {tuple(shape)}", got)
            checks.finite(name, value)
        with torch.no_grad():
            for name, value in given.items():
                getattr(self, name).copy_(value)
        return self

    def unrolled(self) -> Unrolled:
        """The way to the hidden rates and back as plain layers, with copies of the parameters.

        Raises:
            ArgumentError: for hidden units other than bits, or visible ones other than bits and real values.
        """
        if not isinstance(self.visible, BernoulliUnits | GaussianUnits):
            raise ArgumentError("visible", "bits or real values, which one layer makes", self.visible.config["name"])
        back = "sigmoid" if isinstance(self.visible, BernoulliUnits) else "linear"
        down = affine(self.weight, self.visible_bias)
        return Unrolled((Layer(self._up(), "sigmoid"),), (Layer(down, back),))

    def classifier(self, num_labels: int, *, dropout: float = 0.0) -> Classifier:
        """A classifier on a copy of the hidden rates, p(h_j = 1 given v), with a fresh linear layer; `fit` tunes both.

        Args:
            num_labels: number of classes.
            dropout: the rate at which hidden units are silenced in training.

        Raises:
            ArgumentError: for hidden units other than bits, or counts.
        """
        made = Classifier(self.data_shape, num_labels, self.num_hidden, nonlinearity="sigmoid", dropout=dropout)
        made.encoder = nn.Sequential(self._up())
        return made.to(self.device, self.dtype)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "data_shape": list(self.data_shape), "num_hidden": self.num_hidden, "visible": self.visible.config,
            "hidden": self.hidden.config, "negative_phase": self.negative_phase.config,
            "centering": self.centering is not None,
            "running_chains": 0 if self.running is None else self.running.num_chains, "dropout": self.dropout,
        }  # fmt: skip

    # Details.

    def _up(self) -> nn.Linear:
        """From visible values to the inputs of hidden bits."""
        if not isinstance(self.hidden, BernoulliUnits):
            raise ArgumentError("hidden", "bits, whose means are a sigmoid layer", self.hidden.config["name"])
        if self.visible.counts:
            raise ArgumentError("visible", "units other than counts, whose hidden biases count each word", "counts")
        with torch.no_grad():
            return affine(self.visible.statistic(self.weight.T), self.hidden_bias)

    def _bare(self) -> RestrictedBoltzmann:
        parameters = self.weight, self.visible_bias, self.hidden_bias
        return RestrictedBoltzmann(*parameters, visible=self.visible, hidden=self.hidden)

    def _running(self, num_chains: int) -> RunningWeights | None:
        if checks.positive_int("running_chains", num_chains, minimum=0) == 0:
            return None
        if self.visible.counts:
            raise ArgumentError("running_chains", "0 for counts, whose log Z depends on the length", num_chains)
        if num_chains == 1:
            raise ArgumentError("running_chains", "0, or at least 2", num_chains)
        running = RunningWeights(num_chains)
        running.allocate(self._bare())
        return running
