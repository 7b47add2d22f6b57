"""Pictures of training, images, filters, latent codes and estimates, each drawn into the axes it is given."""

from probae.plots.curves import learning_curves
from probae.plots.estimates import estimates
from probae.plots.images import filters, image_grid, reconstructions
from probae.plots.latent import latent_scatter

__all__ = ["estimates", "filters", "image_grid", "latent_scatter", "learning_curves", "reconstructions"]
