"""scikit-learn's view of the models: transformers for a `Pipeline` and a `GridSearchCV`."""

from probae.sklearn.bernoulli_rbm import BernoulliRBM
from probae.sklearn.transformer import AutoencoderTransformer

__all__ = ["AutoencoderTransformer", "BernoulliRBM"]
