"""The adversarial objective: how far a site's draws, all together, are from its prior, seen by a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import is_validation_enabled
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from probae.checks import nearest, real
from probae.errors import ArgumentError, NoLikelihoodError, SiteError
from probae.inference.objective import Objective, batch_of
from probae.inference.traces import Site, Structure, log_prob, run_pair, sample_sites, unscaled_log_prob, vectorized


@final
class Adversarial(Objective):
    """The negative log-densities of all sites but one, plus the divergence of that one's q(z) from its p(z),

        sum over x of  -E_q[log p(x given z)] + strength * KL(q(z) to p(z)),  q(z) = mean over x of q(z given x),

    where nobody knows the density of q(z), or even of p(z): both need only be drawn from. A classifier T tells draws of
    the guide (1) from draws of the model's own distribution (0), both at the same site. The best one is the logarithm
    of the densities' ratio, T = log q / p, and the mean of T over the guide's draws is then the divergence, its
    gradient through the draws the divergence's gradient. Hence one scalar to descend,

        -log p(x given z) + strength * T'(z) + log(1 + exp(-T(z*))) + log(1 + exp(T(u))),  z from q, u from p,

    with T' the classifier with its parameters held fixed, z* the draw held fixed: the guide gets the gradient of the
    divergence alone, the classifier that of its cross-entropy alone. (To reverse the cross-entropy's gradient on its
    way to the guide would descend the Jensen-Shannon divergence.)

    It is no bound on log p(x): beside the ELBO it drops the mutual information of x and z, since
    E KL(q(z given x) to p(z)) = KL(q(z) to p(z)) + I(x; z). And the value of a loss whose two sides compete tells
    nothing: the cross-entropy of a classifier that can no longer tell is 2 log 2 = 1.39.

    The guide may be deterministic, and may have no other input than noise: then it is a generator, and a model that
    says only what data are like makes this a generative adversarial network (the example).

    Args:
        discriminator: T, a module from (N, size of the site) to (N,) or (N, 1); of each row by itself, so without batch
            normalization.
        site: the name of the site that it judges; all latent sites must be reparameterized or Deltas.
        strength: weight of the divergence.
        given: what q and p are to agree given: a callable, batch -> (N, K), whose values stand behind the site's in
            what the classifier sees, so that q(z given c) = p(z given c) for each c. `batch` is as penalties of
            `pb.ELBO` see it.
        num_particles: samples from the guide for each example.
        vectorize: draw several particles at once along one more plate; False for programs that do not broadcast.

    Returns (when called):
        A scalar tensor: the loss summed over examples, with the scales of subsampling plates, as Pyro's is.

    Raises:
        ArgumentError: names the argument; `discriminator` also for outputs of another shape, or batch normalization.
        SiteError: if there is no such latent site, if one is not reparameterized or is enumerated, or if the model's
            distribution of it has parameters, which nothing here would train.

    Source:
        Makhzani et al. 2015 (arXiv 1511.05644), there with the Jensen-Shannon divergence; Mescheder et al. 2017 (arXiv
        1701.04722), section 3, for the logit in the divergence's place; Goodfellow et al. 2014 (arXiv 1406.2661).

    Example:
        A generator against data: the guide makes x of noise, the model says what x is to be like. Nothing else.

        >>> import pyro, pyro.distributions as dist
        >>> _ = torch.manual_seed(0)
        >>> x, generator = 3 + 2 * torch.randn(1000, 1), nn.Linear(1, 1)
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Delta(x, event_dim=1))
        >>> def guide(x):
        ...     pyro.module("generator", generator)
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Delta(generator(torch.randn(len(x), 1)), event_dim=1))
        >>> classifier = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
        >>> adam = partial(torch.optim.Adam, lr=0.03, betas=(0.5, 0.999))
        >>> from probae import fit
        >>> settings = {"optimizer": adam, "batch_size": 50, "epochs": 30, "seed": 0}
        >>> run = fit(model, guide, x, objective=Adversarial(classifier, site="x"), **settings)
        >>> round(generator.bias.item()), round(generator.weight.abs().item())
        (3, 2)
    """

    def __init__(
        self,
        discriminator: nn.Module,
        site: str = "z",
        strength: float = 1.0,
        *,
        given: Callable[[Any], Tensor] | None = None,
        num_particles: int = 1,
        vectorize: bool = True,
    ) -> None:
        super().__init__(num_particles, vectorize)
        if not isinstance(discriminator, nn.Module):
            raise ArgumentError("discriminator", "a torch.nn.Module", type(discriminator).__name__)
        if norm := next((part for part in discriminator.modules() if isinstance(part, _BatchNorm)), None):
            wanted = "one without batch normalization, which would see codes and draws of the prior in batches apart"
            raise ArgumentError("discriminator", wanted, type(norm).__name__, "LayerNorm looks at each alone")
        if not isinstance(site, str):
            raise ArgumentError("site", "the name of a latent site", repr(site))
        if given is not None and not callable(given):
            raise ArgumentError("given", "a callable, batch -> tensor", repr(given))
        self.discriminator, self.site, self.given = discriminator, site, given
        self.strength = real("strength", strength, low=0.0)

    def allocate(self, structure: Structure) -> None:
        """Nothing; but here the sites of a new pair are looked at first."""
        if self.site not in structure.sampled:
            sampled = ", ".join(map(repr, structure.sampled)) or "none"
            raise SiteError(
                f"the adversarial objective's site {self.site!r} is no latent site of this pair, which has {sampled}"
                f"{nearest(self.site, structure.sampled)}; an observed or masked site has nothing to match"
            )
        if structure.scored or structure.enumerates:
            which = f"site {structure.scored[0]!r} is not" if structure.scored else "an enumerated site is not"
            raise SiteError(f"the adversarial objective needs reparameterized latent sites; {which}")

    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure,
    ) -> Tensor:  # fmt: skip
        given = None if self.given is None else self.given(batch_of(model, args, kwargs))
        at_once = self.num_particles if self.vectorize else 1
        if at_once > 1:
            model, guide = vectorized(model, at_once, structure), vectorized(guide, at_once, structure)
        runs = range(self.num_particles // at_once)
        losses = [self._loss(*run_pair(model, guide, args, kwargs), given) for _ in runs]
        return torch.stack(losses).sum() / self.num_particles

    def _loss(self, model_trace: Trace, guide_trace: Trace, given: Tensor | None) -> Tensor:
        of_guide: Site = guide_trace.nodes[self.site]  # type: ignore[assignment]
        of_model: Site = model_trace.nodes[self.site]  # type: ignore[assignment]
        classify = partial(self._logits, self.discriminator, given=given)
        fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        judge = partial(self._logits, partial(functional_call, self.discriminator, fixed), given=given)
        event_dim, found, drawn = of_model["fn"].event_dim, of_guide["value"], _draw(of_model)
        terms = [
            _summed(self.strength * judge(found, event_dim), of_guide),
            _summed(F.softplus(-classify(found.detach(), event_dim)), of_guide),
            _summed(F.softplus(classify(drawn, event_dim)), of_model),
        ]
        return sum(terms, -self._log_prob(model_trace) + self._log_prob(guide_trace))

    def _log_prob(self, trace: Trace) -> Any:
        """Log-density of all sites but the one."""
        return sum((log_prob(site).sum() for name, site in sample_sites(trace) if name != self.site), 0.0)

    def _logits(
        self, network: Callable[[Tensor], Any], value: Tensor, event_dim: int, given: Tensor | None
    ) -> Tensor:  # fmt: skip
        """Of each value of the site, (*batch shape)."""
        rows = value.flatten(value.dim() - event_dim) if event_dim else value.unsqueeze(-1)
        if given is not None:
            rows = torch.cat([rows, given.expand(*rows.shape[:-1], -1)], -1)
        inputs = rows.reshape(-1, rows.shape[-1])
        try:
            logits = network(inputs)
        except RuntimeError as error:
            if "shape" not in str(error) and "size" not in str(error):
                raise
            raise ArgumentError("discriminator", f"a module for inputs (N, {inputs.shape[1]})", f"{error}") from error
        if not isinstance(logits, Tensor) or logits.shape not in ((len(inputs),), (len(inputs), 1)):
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            wanted = f"outputs of shape ({len(inputs)},) or ({len(inputs)}, 1) for inputs {tuple(inputs.shape)}"
            raise ArgumentError("discriminator", wanted, got)
        return logits.reshape(rows.shape[:-1])


def _draw(site: Site) -> Tensor:
    """Fresh draws from the model's distribution of a site, in its plates."""
    drawn = site["fn"](*site["args"], **site["kwargs"])
    if drawn.requires_grad or _is_learned({**site, "value": drawn}):
        raise SiteError(
            f"the model's distribution of {site['name']!r} has parameters, or depends on another latent site: the "
            "adversarial objective would not train it. Give it a fixed one"
        )
    return drawn


def _is_learned(site: Site) -> bool:
    """Whether its density has a gradient other than by the value; looked at in validated runs alone."""
    if not (is_validation_enabled() and torch.is_grad_enabled()):
        return False
    try:
        return unscaled_log_prob(site).requires_grad
    except NoLikelihoodError:  # it can only be drawn from
        return False


def _summed(term: Tensor, site: Site) -> Tensor:
    return scale_and_mask(term, site["scale"], site["mask"]).sum()
