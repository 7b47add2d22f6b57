"""Pictures of training, data, samples, latent spaces and estimates, each drawn into the axes it is given."""

from probae.plots.curves import learning_curves
from probae.plots.decoded import manifold, traversals
from probae.plots.density import density
from probae.plots.differences import differences
from probae.plots.estimates import estimates
from probae.plots.images import filters, image_grid, reconstructions
from probae.plots.latent import latent_scatter
from probae.plots.sequences import sequences

__all__ = [
    "density",
    "differences",
    "estimates",
    "filters",
    "image_grid",
    "latent_scatter",
    "learning_curves",
    "manifold",
    "reconstructions",
    "sequences",
    "traversals",
]
