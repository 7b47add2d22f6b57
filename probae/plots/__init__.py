"""Pictures of training, data, samples, latent spaces and estimates, each drawn into the axes it is given."""

from probae.plots.animation import map_animation
from probae.plots.anomalies import anomaly_maps, roc
from probae.plots.chains import chain_animation, chain_grid
from probae.plots.clusters import clusters
from probae.plots.curves import learning_curves
from probae.plots.decoded import interpolations, manifold, traversals
from probae.plots.density import density
from probae.plots.differences import differences
from probae.plots.estimates import estimates
from probae.plots.fields import vector_field
from probae.plots.images import filters, image_grid, reconstructions
from probae.plots.latent import latent_scatter
from probae.plots.probes import probes
from probae.plots.restorations import restorations
from probae.plots.retrieval import precision_curves, retrieved
from probae.plots.sequences import sequences
from probae.plots.spectrograms import spectrograms

__all__ = [
    "anomaly_maps",
    "chain_animation",
    "chain_grid",
    "clusters",
    "density",
    "differences",
    "estimates",
    "filters",
    "image_grid",
    "interpolations",
    "latent_scatter",
    "learning_curves",
    "manifold",
    "map_animation",
    "precision_curves",
    "probes",
    "reconstructions",
    "restorations",
    "retrieved",
    "roc",
    "sequences",
    "spectrograms",
    "traversals",
    "vector_field",
]
