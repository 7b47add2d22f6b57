"""Groups of similar examples: clusters in the space of a model's codes, and how far they agree with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.applications.embedding import Embeds, codes_of, labels_of
from probae.engine.randomness import check_seed
from probae.errors import ArgumentError
from probae.models.base import Data

METHODS = ("kmeans", "mixture")


@dataclass(frozen=True, repr=False, eq=False)
class Clusters:
    """Clusters of examples.

    Attributes:
        assignments: (N,) the cluster of each example, from 0; the largest comes first.
        sizes: (K,) how many examples each holds.
        centres: (K, L) their means in the space of codes.
        nearest: (K,) of each cluster the example whose code is nearest to its centre.
        codes: (N, L), what was clustered.
        labels: (N,) the labels that were known, -1 where unknown; None without any.
        adjusted_rand: agreement with the labels by pairs of examples: 1 if the partitions are the same, 0 in
            expectation if they are independent. None without labels; examples of unknown label are left out.
        mutual_information: that between cluster and label over the mean of their entropies: 1 if each determines the
            other, near 0 if neither says anything of the other.
        method: how they were found.

    Source:
        Hubert and Arabie 1985 for the adjusted Rand index; Strehl and Ghosh 2002 for normalized mutual information.
    """

    assignments: Tensor
    sizes: Tensor
    centres: Tensor
    nearest: Tensor
    codes: Tensor
    labels: Tensor | None
    adjusted_rand: float | None
    mutual_information: float | None
    method: str

    def __repr__(self) -> str:
        cells = [f"{len(self.sizes)} clusters of {int(self.sizes.min())} to {int(self.sizes.max())} ({self.method})"]
        if self.adjusted_rand is not None:
            cells += [f"adjusted Rand {self.adjusted_rand:.3f}", f"mutual information {self.mutual_information:.3f}"]
        return " | ".join(cells)


def clusters(
    model: Embeds, data: Data, num_clusters: int, *, method: str = "kmeans", labels: Any = None, seed: int = 0
) -> Clusters:
    """Clusters of the codes of examples.

    - "kmeans" minimizes the squared distances of codes from their cluster's centre; the best of ten starts.
    - "mixture" fits a mixture of Normals with full covariances by EM, and takes the likeliest component: for clusters
      of different sizes and shapes, where there are many more examples than latent dimensions squared.

    Codes are taken on the scales that they have. scikit-learn does the work.

    Args:
        model: any that can `embed` without being told labels.
        data: a data set, or examples as the model takes them.
        num_clusters: K, at most N.
        method: "kmeans" or "mixture".
        labels: (N,) integers to compare with, -1 where unknown; by default those of a data set. Clusters never depend
            on them.
        seed: of the starts; the global random state is not touched.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb
        >>> digits = pb.data.load("digits", binarize="none")
        >>> ppca = pb.ProbabilisticPCA(64, latent_dim=10).fit_closed_form(digits.train)
        >>> found = clusters(ppca, digits.test, num_clusters=10)
        >>> found.assignments.shape, found.centres.shape, found.adjusted_rand > 0.3
        (torch.Size([300]), torch.Size([10, 10]), True)
    """
    count = checks.positive_int("num_clusters", num_clusters)
    checks.choice("method", method, METHODS)
    codes = codes_of(model, data)
    if count > len(codes):
        raise ArgumentError("num_clusters", f"at most {len(codes)}, the number of examples", num_clusters)
    known = labels_of("labels", data, labels)
    found = _sorted(torch.from_numpy(_fitted(codes, count, method, check_seed(seed) % 2**32)).long(), count)
    used = int(found.max()) + 1  # components of a mixture may stay empty
    sizes = found.bincount(minlength=used)
    centres = codes.new_zeros(used, codes.shape[1]).index_add_(0, found, codes) / sizes.unsqueeze(1)
    distances = (codes - centres[found]).square().sum(1)
    nearest = [int(distances.masked_fill(found != k, torch.inf).argmin()) for k in range(used)]
    agreement = (None, None) if known is None else _agreement(known, found)
    return Clusters(found, sizes, centres, torch.tensor(nearest), codes, known, *agreement, method)


def _fitted(codes: Tensor, count: int, method: str, seed: int) -> Any:
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    if method == "kmeans":
        starts: Any = 10  # declared a name
        return KMeans(count, n_init=starts, random_state=seed).fit_predict(codes.numpy())
    return GaussianMixture(count, random_state=seed).fit_predict(codes.numpy())


def _sorted(found: Tensor, count: int) -> Tensor:
    """The same clusters, numbered by falling size."""
    order = found.bincount(minlength=count).argsort(descending=True, stable=True)
    return order.argsort()[found]


def _agreement(labels: Tensor, found: Tensor) -> tuple[float | None, float | None]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    known = labels >= 0
    if not bool(known.any()):
        return None, None
    pair = labels[known].numpy(), found[known].numpy()
    return float(adjusted_rand_score(*pair)), float(normalized_mutual_info_score(*pair))
