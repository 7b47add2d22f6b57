"""The grammar of models as a table; what the library does not have yet is marked, by looking."""

import inspect
import re

import probae as pb
from docs.docstrings import markdown

AS_ABOVE = "as above"

ROWS = [
    ("autoencoder", "flat (improper)", "Delta(f(x))", "Normal(g(z), sigma), Bernoulli(g(z)), ...", "",
     "Autoencoder()"),
    ("linear autoencoder = PCA", "flat", "Delta(Wx + b)", "Normal, linear", "", "Autoencoder(hidden=())"),
    ("sparse autoencoder = MAP", "Laplace(0, 1/strength)", "Delta(relu(f(x)))", AS_ABOVE,
     "the decoder's columns are bounded, or z shrinks while the decoder grows", "SparseAutoencoder()"),
    ("sparsity by a target rate", "flat", "Delta(sigmoid(f(x)))", AS_ABOVE,
     "a penalty: the KL divergence of the batch's mean activations from the rate",
     "SparseAutoencoder(target_rate=)"),
    ("k-sparse autoencoder", "flat", "Delta(top-k of f(x))", AS_ABOVE, "", "SparseAutoencoder(top_k=)"),
    ("L1 or L2 on weights", "any", "any", AS_ABOVE,
     "a penalty: minus the log of a Laplace or Normal prior on the weights, divided by N",
     "ELBO(penalties=)"),
    ("denoising autoencoder", "flat", "x~ from the corruption, an auxiliary masked site; then Delta(f(x~))",
     "p(x given z) of the clean x", "", "DenoisingAutoencoder(corruption=)"),
    ("dropout autoencoder", "flat", "Delta of a network with dropout", AS_ABOVE, "", "Autoencoder(dropout=)"),
    ("autoencoder with tied weights", "flat", "Delta(f(x))", "with the weights of f, transposed", "",
     "Autoencoder(tied=)"),
    ("contractive autoencoder", "flat", "Delta(f(x))", AS_ABOVE,
     "a penalty: strength times the squared Frobenius norm of df/dx; weights tied, or it is escaped",
     "ContractiveAutoencoder(strength=, tied=)"),
    ("probabilistic PCA", "Normal", "Normal, linear, one scale for all x", "Normal, linear", "", "ProbabilisticPCA()"),
    ("variational autoencoder", "Normal, or any other", "Normal(mu(x), s(x)), or any other with a density",
     "Bernoulli, Normal, ...", "", "VAE(prior=, guide=, likelihood=)"),
    ("hierarchical VAE", "p(z2) p(z1 given z2)", "q(z1 given x) q(z2 given z1)", AS_ABOVE, "",
     "VAE(latent_dim=(32, 8))"),
    ("conditional VAE", "Normal, or any other", "q(z given x, y)", "p(x given y, z)", "it estimates log p(x given y)",
     "VAE(num_labels=, labels=\"condition\")"),
    ("semi-supervised VAE", "p(y) p(z)", "q(y given x) q(z given x, y)", "p(x given y, z)", "y is summed out",
     "VAE(num_labels=, labels=\"latent\")"),
    ("adversarial autoencoder", "any you can sample", "stochastic or Delta", AS_ABOVE,
     "the KL divergence of q(z) to p(z), estimated by a classifier", "AdversarialAutoencoder(prior=, guide=)"),
    ("generative adversarial network", "Delta(x), the data", "Delta(g(e)), e noise", "",
     "the same at the site x: the guide is the generator", "Adversarial(site=)"),
    ("classifier", "none: nothing is latent", "empty", "Categorical(softmax(V f(x) + c)), of labels y",
     "f may be the encoder of any model of these: `model.classifier(10)`", "Classifier()"),
    ("restricted Boltzmann machine", "a joint energy, the hidden units summed out", "exact, so empty", "exp(-F(x)) / Z",
     "log Z through its negative phase", "RBM(negative_phase=)"),
    ("classification RBM", "a joint energy of x, y and h, the hidden units summed out", "exact, so empty",
     "exp(-F(x, y)) / Z", "p(y given x) is exact, and may weigh more than p(x)", "ClassRBM(num_labels=)"),
    ("deep belief network", "an RBM on the top layer", "a recognition network, upwards", "sigmoid layers, downwards",
     "log Z of the top RBM", "DBN()"),
    ("deep Boltzmann machine", "a joint energy over all layers", "mean field: a Delta with an entropy",
     "part of the energy", "log Z of the whole machine", "DBM()"),
    ("multimodal deep Boltzmann machine", "a joint energy over all layers", "mean field: a Delta with an entropy",
     "part of the energy, a pathway for each kind of data", "log Z of the whole machine", "MultimodalDBM()"),
]  # fmt: skip
"""System, prior, guide, likelihood, one more thing, and the call that makes it, whether it exists yet or not."""


def exists(call):
    """Whether the library has the class of a call and takes the arguments that it names."""
    name, _, arguments = call.partition("(")
    kind = getattr(pb, name, None)
    if kind is None:
        return False
    known = inspect.signature(kind).parameters
    return all(argument in known for argument in re.findall(r"(\w+)=", arguments)) and _deep_enough(call)


def sentence_of(name):
    """What stands in the places of the class of that name."""
    row = next(row for row in ROWS if row[-1].partition("(")[0] == name)
    return dict(zip(("prior", "guide", "likelihood"), row[1:4], strict=True))


def grammar_table():
    lines = ["| system | prior p(z) | guide q(z given x) | likelihood p(x given z) | one more thing | here |"]
    lines.append("|---" * 6 + "|")
    for *cells, call in ROWS:
        here = f"`pb.{call.removesuffix('()')}`" if exists(call) else "*planned*"
        lines.append("| " + " | ".join([*(markdown(cell) or "–" for cell in cells), here]) + " |")
    return "\n".join(lines) + "\n"


def _deep_enough(call):
    """Several stochastic layers are an old argument with a new value, so it is tried."""
    if "latent_dim=(" not in call:
        return True
    try:
        return bool(pb.VAE(4, latent_dim=(3, 2), hidden=4))
    except pb.errors.ArgumentError:
        return False
