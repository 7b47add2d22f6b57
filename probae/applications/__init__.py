"""What models are good for: each application is one call on any model that can do it, and one picture."""

from probae.applications.anomalies import ROC, roc, threshold
from probae.applications.clusters import Clusters, clusters
from probae.applications.maps import MapRecorder
from probae.applications.probes import Probe, linear_probe
from probae.applications.restoration import colorize
from probae.applications.retrieval import (
    Neighbours,
    Precision,
    among,
    euclidean_search,
    hamming_search,
    pack,
    precision_at_k,
    retrieve,
    same_label,
)

__all__ = [
    "ROC",
    "Clusters",
    "MapRecorder",
    "Neighbours",
    "Precision",
    "Probe",
    "among",
    "clusters",
    "colorize",
    "euclidean_search",
    "hamming_search",
    "linear_probe",
    "pack",
    "precision_at_k",
    "retrieve",
    "roc",
    "same_label",
    "threshold",
]
