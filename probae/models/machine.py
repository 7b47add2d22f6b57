"""What a Boltzmann machine is asked once it is there: its log Z, likelihoods, and samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.data import Dataset
from probae.distributions.enumeration import has_exact
from probae.distributions.finite import check_finite
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import Units
from probae.engine.callbacks import wants_progress
from probae.engine.randomness import check_seed, stream
from probae.errors import ArgumentError
from probae.evaluation.energy import log_likelihood_of_documents, log_likelihood_of_energy
from probae.evaluation.estimate import Estimate
from probae.evaluation.mixing import Chains, run_chains
from probae.evaluation.partition import log_partition
from probae.models.base import Data, Model, protocol_of
from probae.models.observed import check_mask


class Machine(Model):
    """A model whose x is a restricted Boltzmann machine, the one that `distribution()` gives.

    A subclass has `visible`, the units of x, and keeps of the data what `mean_rates` and `lengths` say.
    """

    visible: Units
    mean_rates: Tensor
    lengths: Tensor | None
    _known: tuple[Estimate, list[Tensor]] | None = None

    @abstractmethod
    def distribution(self) -> RestrictedBoltzmann:
        """The machine as a Pyro distribution, to be a site of any program."""

    def log_partition(
        self, method: str | None = None, *, base: Tensor | None = None, seed: int = 0, **options: Any
    ) -> Estimate:
        """log Z, and from now on, until the parameters change, the one that `log_prob` uses in evaluation mode.

        Args:
            method: "exact" (by default where the smaller side has at most 2^20 states), "ais" or "bridge"; "running"
                reads the estimate that `running_chains` have kept in training.
            base: (D,) the data's means, where AIS starts; those that `prepare` has kept by default.
            seed: of the random numbers; the global random state is not touched.
            options: of the method: num_chains, num_temperatures, progress for AIS. For counts also length, of
                documents: their log Z depends on it, and is not kept.

        Raises:
            ArgumentError: for a machine too large to enumerate, or an unknown method.
            NotPreparedError: for AIS without base means.
            InfinitePartitionError: for Gaussian and ReLU units with weights too large.
        """
        method = method or ("exact" if has_exact(self.distribution()) else "ais")
        with self.evaluating(), stream(check_seed(seed), self.device):
            estimate = log_partition(self.distribution(), method, base_rates=self._base(base), **options)
        if not self.visible.counts:
            self._known = (estimate, [p.detach().clone() for p in self.parameters()])
        return estimate

    def log_likelihood(self, data: Data, method: str | None = None, **options: Any) -> Estimate:
        """The mean of -F(v) - log Z, with log Z from `log_partition(method, **options)`, of counts for each length.

        Forward AIS underestimates log Z, so that the likelihood it gives is an upper bound in expectation.

        Args:
            data: N examples.
            method: see `log_partition`.
            options: of the method; for counts also `ordered=True`, to score documents as lists of words.
        """
        x = self.examples("data", data)
        machine, protocol = self.distribution(), protocol_of(data)
        if self.visible.counts:
            ordered, seed = options.pop("ordered", False), options.pop("seed", 0)

            def log_z_of(length: int) -> Estimate:
                return self.log_partition(method, length=length, seed=seed + length, **options)

            with self.evaluating():
                scores = (0.0 if ordered else self.visible.log_orders(x)) - machine.free_energy(x)
            return log_likelihood_of_documents(scores, x.sum(1), log_z_of, protocol)
        log_z = self.log_partition(method, **options)
        with self.evaluating():
            return log_likelihood_of_energy(-machine.free_energy(x), log_z, protocol)

    def sample(
        self, num_examples: int | None = None, *, steps: int = 1000, given: Tensor | None = None,
        mask: Tensor | None = None, length: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Visible values after Gibbs sampling: free, or with observed units clamped (in-painting).

        Chains start at independent units with the data's means if `prepare` has seen data, else without bias. They are
        near the machine's distribution only once they have mixed, which `chains` judges.

        Args:
            num_examples: how many chains; 1 by default, or one for each row of `given`.
            steps: Gibbs steps of each.
            given: (N, D) values of the observed units; what stands in the others, even NaN, does not matter.
            mask: (D,) or (N, D), True where a unit is observed and stays at its value in `given`; of categorical units,
                for all categories or none.
            length: of documents, in words; by default drawn from the lengths of the data that `prepare` has seen.

        Returns:
            (N, D) values.

        Raises:
            ArgumentError: for `given` without `mask` or the other way round, or a mask of another shape or dtype.
            InfinitePartitionError: see `log_partition`.
        """
        if (given is None) != (mask is None):
            raise ArgumentError("mask", "given= and mask= together", "one of them")
        self.refuse(**{"given": given} if self.visible.counts else {"length": length})
        steps, clamp = checks.positive_int("steps", steps), None if given is None else self._observed(given, mask)
        rows = 1 if clamp is None else len(clamp[1])
        count = checks.positive_int("num_examples", rows if num_examples is None else num_examples)
        if clamp is not None and rows != count:
            raise ArgumentError("num_examples", f"{rows}, the length of given", count)
        with self.evaluating():
            machine = self.distribution()
            check_finite(machine)
            v = self._independent(count, length)
            if clamp is None:
                return machine.gibbs(v, steps)
            for _ in range(steps):
                v = machine.gibbs(torch.where(*clamp, v))
            return torch.where(*clamp, v)

    def chains(
        self, num_chains: int = 20, *, steps: int = 1000, every: int = 1, length: int | None = None, seed: int = 0,
        progress: bool | None = None,
    ) -> Chains:  # fmt: skip
        """Gibbs chains, judged: whether so many steps are enough for samples of this machine.

        Half of the chains start like those of `sample`, at the data's means, the others at units without any bias.

        Args:
            num_chains: M, at least 4.
            steps: Gibbs steps of each, at least 20; the first half of them is left out.
            every: Gibbs steps between two states that are kept.
            length: of documents, in words; by default the median of those that `prepare` has seen.
            seed: of the random numbers; the global random state is not touched.
            progress: whether to show a bar; in a terminal or a notebook by default.

        Raises:
            ArgumentError: names the argument.
            InfinitePartitionError: see `log_partition`.

        Example:
            >>> import probae as pb
            >>> chains = pb.RBM(16, 8).chains(steps=500)
            >>> chains.states.shape
            torch.Size([250, 20, 16])
            >>> chains.mixed
            True
        """
        count = checks.positive_int("num_chains", num_chains, minimum=4)
        steps = checks.positive_int("steps", steps, minimum=20)
        if checks.positive_int("every", every) > steps // 8:
            raise ArgumentError("every", f"at most {steps // 8}, an eighth of the steps", every)
        if not self.visible.counts:
            self.refuse(length=length)
        with self.evaluating(), stream(check_seed(seed), self.device):
            machine = self.distribution()
            check_finite(machine)
            if self.lengths is not None and length is None:  # chains keep their lengths: others would never agree
                length = int(self.lengths.median())
            v = self._independent(count, length)
            plain = self.visible.sample(torch.zeros_like(v), self.visible.length(v))
            start = torch.cat([v[: count // 2], plain[count // 2 :]])
            return run_chains(
                machine.gibbs, machine.free_energy, start, steps=steps, every=every, progress=wants_progress(progress)
            )

    def inpaint(self, x: Data, mask: Any, *, steps: int = 1000) -> Tensor:
        """Fill in what is not observed, by Gibbs sampling with the observed units clamped: (N, D).

        Args:
            x: a data set, or a tensor (N, D) or (N, *data_shape); what is not observed may be anything, NaN too.
            mask: (D,), (N, D) or of the data's shape, True where x is observed.
            steps: Gibbs steps of each chain.
        """
        return self.sample(given=x.tensor if isinstance(x, Dataset) else x, mask=mask, steps=steps)  # type: ignore[arg-type]

    # Details.

    def _independent(self, count: int, length: int | None = None) -> Tensor:
        """(count, D) independent units with the data's means, or without bias where no data has been seen."""
        base, words = self._base(None), None
        bias = torch.zeros_like(self.mean_rates) if base is None else self.visible.bias_for(base)
        if self.lengths is not None:
            drawn = self.lengths[torch.randint(len(self.lengths), (count,), device=self.device)]
            words = drawn if length is None else drawn.new_full((count,), float(checks.positive_int("length", length)))
        return self.visible.sample(bias.expand(count, -1), words)

    def _observed(self, given: Tensor, mask: Any) -> tuple[Tensor, Tensor]:
        """The mask and what was given, (N, D) both, with independent units where it says nothing."""
        values = checks.rows("given", given, self.data_shape).to(self.device, self.dtype)
        observed = check_mask(mask, len(values), self.data_shape).to(values.device)
        self.visible.check_mask("mask", observed)
        values = torch.where(observed, values, self._independent(len(values)))
        return observed, self.examples("given", values)

    def _base(self, base: Tensor | None) -> Tensor | None:
        if base is None:
            return None if bool(self.mean_rates.isnan().any()) else self.mean_rates
        shapes = (self.num_visible,), self.data_shape
        if not isinstance(base, Tensor) or base.shape not in shapes:
            got = f"shape {tuple(base.shape)}" if isinstance(base, Tensor) else type(base).__name__
            raise ArgumentError("base", f"a tensor of shape {shapes[0]}", got)
        self.visible.check_means("base", base.flatten())
        return base.flatten().to(self.device)

    def _current(self) -> Estimate | None:
        """The last log Z, if the parameters are still those that it belongs to."""
        estimate, then = self._known or (None, [])
        return estimate if all(map(_same, self.parameters(), then)) else None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
