"""What a number was measured on: without its protocol a log-likelihood is no number."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Protocol:
    """Names the data, the split and the binarization behind an estimate, and how it was estimated.

    Attributes:
        dataset: name of the data set; "unknown" for a bare tensor.
        split: "train", "valid" or "test".
        binarization: "none" (as they are: grey values, or bits from the start), "threshold", "stochastic" (drawn once
            from `seed`) or "dynamic" (drawn anew in each batch; validation and test sets are still drawn once from
            `seed`).
        seed: of the binarization.
        estimator: how the number was estimated, such as "importance".
        samples: Monte Carlo samples an example.
        of: whose probability it is: "x", or "x where observed", "x up to its length".
        given: what the probability is conditional on: "y" for log p(x given y), None for log p(x).

    Example:
        >>> str(Protocol("digits", "test", "stochastic", seed=0).using("importance", 5000))
        'digits/test, stochastic binarization (seed 0), importance with 5000 samples'
        >>> str(Protocol())
        'unknown data'
    """

    dataset: str = "unknown"
    split: str = "unknown"
    binarization: str = "unknown"
    seed: int | None = None
    estimator: str | None = None
    samples: int | None = None
    given: str | None = None
    of: str = "x"

    def using(self, estimator: str, samples: int | None = None) -> Protocol:
        """The same data, judged by `estimator` with `samples` samples."""
        return replace(self, estimator=estimator, samples=samples)

    def __str__(self) -> str:
        parts = ["unknown data" if self.dataset == "unknown" else f"{self.dataset}/{self.split}"]
        if self.binarization not in ("unknown", "none"):
            seed = "" if self.seed is None else f" (seed {self.seed})"
            parts.append(f"{self.binarization} binarization{seed}")
        elif self.binarization == "none":
            parts.append("not binarized")
        if self.given is not None or self.of != "x":
            condition = "" if self.given is None else f" given {self.given}"
            parts.append(f"log p({self.of}{condition})")
        if self.estimator is not None:
            parts.append(self.estimator + (f" with {self.samples} samples" if self.samples else ""))
        return ", ".join(parts)
