# %% [markdown]
# # The VAE, from the evidence lower bound to a likelihood you can trust
#
# Tutorial 1 ended with three complaints about autoencoders: their codes may be torn, much of their latent space is
# nobody's, and no likelihood tells which of two is better. The variational autoencoder (VAE) changes one thing: every
# place gets a density, the prior of the codes and the guide as well. Then there is a likelihood, and with it an answer.
#
# You will see
#
# 1. why its likelihood cannot be computed, and the lower bound that can, derived twice and checked where all is exact;
# 2. how to differentiate an expectation, and what the choice costs;
# 3. a VAE in fifteen lines of Pyro, its samples and its latent space;
# 4. how a VAE gives up its latent variables (*posterior collapse*), and what to do about it;
# 5. how to estimate a likelihood honestly: with its error, beside the exact value, and cases in which it lies;
# 6. how to compare models.
#
# You need tutorial 1, the Kullback-Leibler divergence, and some PyTorch. A GPU is not needed.

# %%
import math
import os

import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import kl_divergence

import probae as pb
from probae.evaluation.baselines import bernoulli_baseline, mixture_baseline

EFFORT = 0.02 if os.environ.get("PROBAE_TUTORIAL_SHORT") else 1.0  # the project's checks train little; you want 1.0
TRAIN = {"seed": 0, "batch_size": 100, "schedule": "cosine", "progress": False}  # settings of all trainings below
QUIET = {"progress": False}


def effort(number):
    """Of epochs, or of samples."""
    return max(2, round(EFFORT * number))


plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=pb.plots.style.COLOURS)

# %% [markdown]
# ## 1. A likelihood that cannot be computed, and a bound that can
#
# A VAE draws a latent vector $z \in \mathbb{R}^L$ from the prior $p(z) = \mathrm{Normal}(0, I)$ and an example from
# $p(x \mid z)$, whose parameters a neural network computes from $z$. We would like to maximize
#
# $$\log p(x) = \log \int p(z)\, p(x \mid z)\, dz .$$
#
# The integral has no closed form, since a network stands inside. A grid of $n$ points a dimension has $n^L$ points. And
# the average of $p(x \mid z_k)$ over $z_k \sim p(z)$ is unbiased but wasteful: only codes near those that could have
# made $x$ contribute, and a draw from the prior hits them with a probability of about $e^{-\mathrm{KL}}$, where KL is
# that of the posterior from the prior: five nats for the small digits below, tens of nats for larger images.
#
# So let a second distribution propose codes: the *guide* $q(z \mid x)$, which knows $x$. Two derivations lead to the
# same bound.
#
# **By Jensen's inequality.** Write the integral as an expectation under $q$; the logarithm is concave:
#
# $$\log p(x) = \log \mathbb{E}_{q}\left[\frac{p(x, z)}{q(z \mid x)}\right] \ \ge\
# \mathbb{E}_{q}\left[\log \frac{p(x, z)}{q(z \mid x)}\right] = \mathrm{ELBO}(x) .$$
#
# **By Bayes' rule.** For each $z$, $\log p(x) = \log p(x, z) - \log p(z \mid x)$. Add and subtract $\log q(z \mid x)$
# and take the expectation under $q$:
#
# $$\log p(x) = \mathrm{ELBO}(x) + \mathrm{KL}\big(q(z \mid x) \,\Vert\, p(z \mid x)\big) .$$
#
# The second way says more: the gap *is* the divergence of the guide from the true posterior. The bound touches where
# the guide is the posterior. Split the other way,
# $\mathrm{ELBO}(x) = \mathbb{E}_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \Vert p(z))$: reconstruct well (minus the
# *distortion*), and do not pay too many nats for the code (the *rate*).
#
# ### A model in which everything is exact
#
# One latent variable, one observed: $z \sim \mathrm{Normal}(0, 1)$, $x \mid z \sim \mathrm{Normal}(w z, \sigma^2)$.
# Then $p(x) = \mathrm{Normal}(0, w^2 + \sigma^2)$, and the posterior is Normal with mean $w x / (w^2 + \sigma^2)$ and
# variance $\sigma^2 / (w^2 + \sigma^2)$. For a guide $\mathrm{Normal}(m, s^2)$ the bound is a formula too.

# %%
w, sigma, x = 1.5, 0.8, torch.tensor(2.0)
log_p = dist.Normal(0.0, math.hypot(w, sigma)).log_prob(x)
posterior = dist.Normal(w * x / (w**2 + sigma**2), sigma / math.hypot(w, sigma))


def exact_elbo(m, s):
    likelihood = -math.log(sigma * math.sqrt(2 * math.pi)) - ((x - w * m) ** 2 + (w * s) ** 2) / (2 * sigma**2)
    return likelihood - kl_divergence(dist.Normal(m, s), dist.Normal(0.0, 1.0))


m, s = torch.meshgrid(torch.linspace(-0.2, 2.2, 241), torch.linspace(0.15, 1.2, 211), indexing="xy")
bound = exact_elbo(m, s)
gap = kl_divergence(dist.Normal(m, s), posterior)
print(f"log p(x) = {log_p:.4f}, largest bound on the grid {bound.max():.4f}")
print(f"largest error of 'log p(x) = ELBO + KL' on the grid: {(log_p - bound - gap).abs().max():.1e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
lines = axes[0].contour(m, s, gap, levels=[0.1, 0.3, 1, 2, 3, 4], colors="C0")
axes[0].clabel(lines, fontsize=8)
axes[0].plot(posterior.loc, posterior.scale, "C2*", markersize=14)
axes[0].set(xlabel="m", ylabel="s", title="nats between bound and log p(x); star: the posterior")
scales = torch.linspace(0.1, 1.2, 200)
axes[1].axhline(log_p, color="0.4", linestyle="--", label="log p(x)")
for shift in (0.0, 0.3):
    axes[1].plot(scales, exact_elbo(posterior.loc + shift, scales), label=f"ELBO, mean off by {shift}")
axes[1].axvline(posterior.scale, color="0.8", zorder=0)
axes[1].set(xlabel="s", ylabel="nats", ylim=(-4.5, None), title="the bound along s")
axes[1].legend()
plt.show()

# %% [markdown]
# The bound has one maximum, at the posterior, and there it touches $\log p(x)$. With the mean off by 0.3 no width
# closes the gap. A guide that is too narrow costs as well as one that is too wide. And the identity holds to rounding:
# the gap is the KL divergence, at every guide.
#
# In the library the same bound is a Monte Carlo estimate over any pair of Pyro programs:


# %%
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(w * z, sigma), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_tensor(1.0), 0.5))


torch.manual_seed(0)
estimated = -pb.ELBO(num_particles=100_000)(model, guide, x[None])
print(f"pb.ELBO {estimated:.3f}, formula {exact_elbo(torch.tensor(1.0), torch.tensor(0.5)):.3f}")

# %% [markdown]
# **Exercise 1.** The other divergence, $\mathrm{KL}(p(z \mid x) \Vert q)$, gives an *upper* bound on $\log p(x)$. Find
# it. Why can't we train with it? *Hint: take the expectation under the posterior.*

# %% [markdown]
# ## 2. The gradient of an expectation
#
# To train the guide we need $\nabla_\phi\, \mathbb{E}_{q_\phi(z)}[h(z)]$, where $\phi$ is in the distribution. There
# are two ways.
#
# **Score function** (REINFORCE): $\nabla_\phi \mathbb{E}_q[h] = \mathbb{E}_q[h(z)\, \nabla_\phi \log q_\phi(z)]$. It
# needs nothing from $h$, which may be a black box and $z$ discrete. Subtracting a constant from $h$ (a *baseline*)
# changes only the variance.
#
# **Reparameterization** (pathwise): write $z = m + s \varepsilon$ with $\varepsilon \sim \mathrm{Normal}(0, 1)$, and
# differentiate inside: $\mathbb{E}_\varepsilon[\nabla_\phi h(m + s \varepsilon)]$. It needs $h$ to be differentiable,
# and uses its slope.
#
# Compare them where the answer is known: $q = \mathrm{Normal}(m, I)$ in $L$ dimensions, $h = \log p(z) - \log q(z)$
# with $p = \mathrm{Normal}(0, I)$, so that $\mathbb{E}_q[h] = -\tfrac{1}{2} \lVert m \rVert^2$ and the gradient for
# $m_1$ is $-m_1$. All $m_i = 1/2$.

# %%
torch.manual_seed(0)
dimensions = [2**k for k in range(9)]
variances = {"score function": [], "score function, best constant baseline": [], "reparameterized": []}
for dimension in dimensions:
    noise = torch.randn(effort(50_000), dimension)
    z = 0.5 + noise
    h = 0.5 * (noise**2 - z**2).sum(1)  # log p - log q
    score = noise[:, 0]  # d log q / d m_1
    baseline = (h * score**2).mean() / (score**2).mean()
    draws = {
        "score function": h * score,
        "score function, best constant baseline": (h - baseline) * score,
        "reparameterized": -z[:, 0],
    }
    for name, values in draws.items():
        variances[name].append(values.var().item())
        if dimension in (1, 256):
            error = values.std() / math.sqrt(len(values))
            print(f"L = {dimension:3}  {name:38} mean {values.mean():7.3f} ± {error:.3f}, variance {values.var():7.2f}")

# %%
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, values in variances.items():
    ax.loglog(dimensions, values, "o-", markersize=4, label=name)
ax.set(xlabel="latent dimensions L", ylabel="variance of one sample's gradient")
ax.legend(fontsize="small")
plt.show()

# %% [markdown]
# All three are unbiased: the means agree with $-0.5$ within two of their errors. Their variances grow apart. That of
# the score function grows like $L^2$, since the value $h$ sums up all dimensions, of which the gradient for $m_1$ needs
# one; a baseline takes away the common part and leaves growth like $L$; the pathwise gradient does not grow at all. (In
# one dimension the score function happens to be ahead. No law says that the pathwise gradient must win; in many
# dimensions it does.) Does it matter in training? The next section trains a VAE with each.
#
# **Exercise 2.** Show that the baseline leaves the mean unchanged, and derive the best constant one used above. *Hint:
# $\mathbb{E}_q[\nabla \log q] = 0$.*

# %% [markdown]
# ## 3. A VAE in fifteen lines
#
# The data are digits whose grey values were turned into bits: each pixel is drawn as Bernoulli(grey). "dynamic" draws
# the *training* bits anew at each epoch; validation and test bits are drawn once, from the seed.

# %%
digits = pb.data.load("digits", binarize="dynamic", seed=0)
test = digits.test.tensor
print(digits.train)
print(digits.test)


# %%
class ScoreNormal(dist.Normal):
    has_rsample = False  # so Pyro, and this library, use the score function


def by_hand(size=16, width=128, normal=dist.Normal):
    pyro.clear_param_store()
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 2 * size))
    decoder = nn.Sequential(nn.Linear(size, width), nn.Tanh(), nn.Linear(width, 64))

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(size), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        loc, raw = encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(loc, F.softplus(raw)).to_event(1))

    return model, guide


ways = {
    "reparameterized": (dist.Normal, "average"),
    "score function, baseline": (ScoreNormal, "average"),
    "score function": (ScoreNormal, None),
}
histories = {}
for name, (normal, baseline) in ways.items():
    model, guide = by_hand(normal=normal)
    objective = pb.ELBO(baseline=baseline)
    run = pb.fit(model, guide, digits.train, valid=digits.valid, objective=objective, epochs=effort(100), **TRAIN)
    histories[name] = run.history["valid_elbo"]
    print(f"{name:24} ELBO of the validation set {run.best:.2f}")

# %%
figure, ax = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for name, values in histories.items():
    ax.plot(range(1, len(values) + 1), values, label=name)
ax.set(xlabel="epoch", ylabel="ELBO, nats per example", ylim=(-35, None))
ax.legend()
plt.show()

# %% [markdown]
# The same model, the same guide, the same number of steps: the only difference is the gradient's noise, and it decides
# how far training comes, by one nat and by more than two. (Discrete latent variables have no pathwise gradient; there a
# baseline is what one has.)
#
# From here on we use `pb.VAE`, which is this pair with the verbs one wants: `encode`, `decode`, `sample`,
# `reconstruct`, `log_likelihood`.

# %%
torch.manual_seed(0)
vae = pb.VAE(64, latent_dim=16, hidden=(256, 256))
run = vae.fit(digits.train, valid=digits.valid, epochs=effort(400), learning_rate=2e-3, **TRAIN)
print(f"ELBO of the validation set: {run.best:.2f} at epoch {run.best_epoch}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 3.4), layout="constrained")
pb.plots.learning_curves(run.history, best_epoch=run.best_epoch, ax=axes[0])
axes[0].set_ylim(-28, None)
pb.plots.reconstructions(test[:24], vae.reconstruct(test[:24]), cols=12, ax=axes[1])

figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
torch.manual_seed(0)
shown = {"test digits": test[:49], "samples": vae.sample(49), "means of samples": vae.sample(49, mean=True)}
for ax, (name, images) in zip(axes, shown.items(), strict=True):
    pb.plots.image_grid(images, cols=7, ax=ax)
    ax.set_title(name)

# %% [markdown]
# The training curve does not run ahead of the validation curve: bits drawn anew at each epoch are hard to learn by
# heart. (It is even below; 300 digits are few, and these seem a little easier.) Reconstructions are smoother than the
# bits, since they are means. Samples look as ragged as the data, which is drawn bit by bit; their means show what the
# model has in mind: mostly digits, and some that are between two.
#
# ### The latent space
#
# For pictures, a VAE with two latent variables. It is also small enough that section 5 can compute its likelihood
# exactly.

# %%
torch.manual_seed(0)
small = pb.VAE(64, latent_dim=2, hidden=(128, 128))
small_run = small.fit(digits.train, valid=digits.valid, epochs=effort(300), learning_rate=2e-3, **TRAIN)
print(f"ELBO of the validation set: {small_run.best:.2f} at epoch {small_run.best_epoch}")



# %%
def framed(z):
    images = small.decode(z).mean.reshape(-1, 1, 8, 8)
    return F.pad(images, (1, 1, 1, 1))  # these digits fill their pixels to the edge


figure, axes = plt.subplots(1, 2, figsize=(12, 5.4), layout="constrained")
pb.plots.latent_scatter(small.embed(digits.test), digits.test.labels, ax=axes[0])
for radius in (1, 2):
    axes[0].add_patch(plt.Circle((0, 0), radius, fill=False, color="0.6", linestyle=":"))
pb.plots.manifold(framed, steps=14, ax=axes[1])
axes[0].set_title("mean codes of test digits; circles at radius 1 and 2")
axes[1].set_title("p(x | z) at quantiles of the prior")
plt.show()

# %% [markdown]
# Compare with the autoencoder of tutorial 1. The codes fill a disc of known size, that of the prior, with fewer gaps;
# at nearly every place that the prior would draw there is a digit, and one turns gradually into the next. The KL term
# did that: a code costs nats by how far it is from the prior, and a guide with a width makes neighbours share their
# pictures.
#
# **Exercise 3.** Sample from the plain autoencoder of tutorial 1 (two latent dimensions) by drawing codes from a Normal
# with the mean and covariance of its training codes. Compare the samples with those of `small`. *Hint: `embed`, then
# `torch.distributions.MultivariateNormal`.*

# %% [markdown]
# ## 4. Posterior collapse
#
# Which latent variables are used? One that tells nothing about $x$ has $q(z_i \mid x) = p(z_i)$ for every $x$: its KL
# is zero, it costs nothing and does nothing. It has *collapsed*. Two measures over the test set: the mean KL of each
# dimension, and the number of *active units*, those whose mean code varies by more than 0.01 (Burda et al. 2016).
#
# Six objectives on the same VAE with 32 latent variables: the weight $\beta$ of the KL; a *warm-up*, which raises
# $\beta$ from zero to one over the first half of training; and *free bits*, which do not reward pushing a dimension's
# KL below a quarter of a nat. These belong to the objective, not to the model. So all of them are judged by the same
# plain ELBO ($\beta = 1$) and by the likelihood (of which more in section 5).

# %%
objectives = {
    "beta 1/2": pb.ELBO(beta=0.5),
    "beta 1": pb.ELBO(),
    "beta 2": pb.ELBO(beta=2.0),
    "beta 4": pb.ELBO(beta=4.0),
    "warm-up": pb.ELBO(warmup=effort(300) * 12 // 2),
    "free bits": pb.ELBO(free_bits=0.25),
}


def plain_elbo(vae, particles=50):
    with torch.no_grad():
        return -pb.ELBO(num_particles=particles)(vae.model, vae.guide, test).item() / len(test)


rates = {}
print("objective  active units   rate  distortion    ELBO  log p(x)")
for name, objective in objectives.items():
    torch.manual_seed(0)
    one = pb.VAE(64, latent_dim=32, hidden=(128, 128))
    one.fit(digits.train, objective=objective, epochs=effort(300), learning_rate=2e-3, **TRAIN)
    q = one.encode(test).base_dist
    kl = kl_divergence(q, dist.Normal(0.0, 1.0)).mean(0)
    rates[name] = kl.sort(descending=True).values
    active, rate, elbo = int((q.loc.var(0) > 0.01).sum()), kl.sum().item(), plain_elbo(one)
    log_p = one.log_likelihood(digits.test, num_samples=effort(500), **QUIET)
    verdict = "" if log_p.reliable else " (not reliable)"
    print(f"{name:9}  {active:12}  {rate:5.2f}  {-elbo - rate:10.2f}  {elbo:6.2f}  {log_p.value:8.2f}{verdict}")

pixels = bernoulli_baseline(digits.train, digits.test)
print(f"independent pixels: {pixels.value:.2f}")

# %%
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, values in rates.items():
    ax.plot(range(1, 33), values, "o-", markersize=3, label=name)
ax.set(xlabel="latent dimension, largest KL first", ylabel="mean KL, nats")
ax.legend()
plt.show()

# %% [markdown]
# With $\beta = 1$ the VAE uses fewer than half of its 32 variables. That need not be a fault: the rest costs nothing.
# With $\beta = 4$ it uses none. The decoder then ignores its input, and the model *is* the baseline of independent
# pixels, as the last two numbers of its row show: a perfect fit of guide to posterior (ELBO and likelihood agree), of a
# model that has learned nothing about how pixels hang together. Free bits keep every dimension at about a quarter of a
# nat, as asked; here that buys nothing: the likelihood falls. Warm-up keeps more units in use, and is not better here
# either. They are remedies for a collapse that hurts; *judge by the likelihood, not by the number of active units*.
#
# Note $\beta = 1/2$: its rate is the largest, its reconstructions the best (the least distortion), its likelihood
# worse. Whoever shows only reconstructions would have chosen it. (The estimates marked as not reliable may be somewhat
# low; why, is the next section's subject.)
#
# **Exercise 4.** Plot distortion against rate for ten values of $\beta$ between 0.1 and 4. What is the slope of the
# curve at the point of a given $\beta$? *Hint: which sum does each point minimize? See Alemi et al. (2018).*

# %% [markdown]
# ## 5. A likelihood you can trust
#
# ### The ELBO is not the likelihood
#
# With two latent variables the integral over $z$ is a sum over a grid. Halving its step tells whether it is fine
# enough.


# %%
@torch.no_grad()
def quadrature(vae, x, points=400, radius=6.0):
    """log p(x) for each example, by the trapezoid rule in two dimensions."""
    line = torch.linspace(-radius, radius, points)
    z = torch.cartesian_prod(line, line)
    log_prior = dist.Normal(0.0, 1.0).log_prob(z).sum(1).double() + 2 * math.log(2 * radius / (points - 1))
    logits = vae.decoder(z).double()
    constant = log_prior - F.softplus(logits).sum(1)  # log p(x | z) = x'logits - sum softplus(logits)
    return torch.cat([(part.double() @ logits.T + constant).logsumexp(1) for part in x.split(50)])


exact = quadrature(small, test)
print(f"exact log p(x): {exact.mean():.4f}; with twice the step: {quadrature(small, test, 200).mean():.4f}")
print(f"ELBO:           {plain_elbo(small):.4f}")

# %% [markdown]
# The two differ by the mean divergence of the guide from the posterior, and by nothing else. To compare two models by
# their ELBOs is to compare their guides too.
#
# ### Importance sampling
#
# Draw $K$ codes from the guide instead of one, and average *inside* the logarithm:
#
# $$L_K(x) = \mathbb{E}\left[\log \frac{1}{K} \sum_{k=1}^{K} \frac{p(x, z_k)}{q(z_k \mid x)}\right], \qquad
# \mathrm{ELBO} = L_1 \le L_2 \le \dots \le \log p(x) .$$
#
# The average itself is unbiased for $p(x)$; its logarithm is biased downwards, by about half its relative variance,
# which falls like $1/K$ if the weights $w_k = p(x, z_k) / q(z_k \mid x)$ have a variance. `log_likelihood` returns an
# *estimate*, with everything one needs to believe it or not:

# %%
estimate = small.log_likelihood(digits.test, num_samples=effort(1000), **QUIET)
print(estimate)
print("reason:", estimate.reason)
print(f"true error: {estimate.value - exact.mean():+.4f}")

# %% [markdown]
# Read it from left to right:
#
# - the value, with two errors: *Monte Carlo* (other codes $z_k$, the same examples) and *data* (other test examples);
# - the direction: `lower`, since the bias is downwards;
# - ESS, the effective number of samples out of 1000, and $\hat k$, which estimates how heavy the tail of the weights
#   is: with $k > 1/2$ they have no variance and the $1/\sqrt{K}$ error bar is optimistic, above 0.7 it means little
#   (Vehtari et al. 2024);
# - a verdict, here with its reason;
# - the protocol, without which the number says nothing (section 6).
#
# The verdict is that the error bar should not be trusted, since $\hat k$ is too high for too many examples. Is it too
# strict? The estimate is close, but the true error is more than three times the Monte Carlo error that was claimed: the
# warning is right.
#
# What makes the weights heavy? The ELBO's own taste. $\mathrm{KL}(q \Vert p)$ punishes a guide for reaching where the
# posterior does not, not for missing where it does, so guides come out too narrow, and too narrow is what importance
# sampling cannot stand. The remedy is to train with the bound that one evaluates.
#
# ### Training with the importance-weighted bound
#
# `pb.IWAE(K)` maximizes $L_K$ (Burda et al. 2016). The signal-to-noise ratio of its plain gradient for the guide falls
# as $K$ grows (Rainforth et al. 2018); `gradient="dreg"` mends that (Tucker et al. 2019). One thing to mind:
# `fit(valid=...)` keeps the epoch that is best by a *monitor*. The plain ELBO would be the wrong judge here; beside
# `pb.IWAE(K)` it is the bound with the same $K$ by default, and we take a tighter one, $K = 50$.

# %%
torch.manual_seed(0)
weighted = pb.VAE(64, latent_dim=2, hidden=(128, 128))
bound = pb.IWAE(50).eval()


def mean_bound(batches):
    losses = [bound(weighted.model, weighted.guide, *batch.args) for batch in batches]
    return -sum(losses) / len(digits.valid)


run = weighted.fit(
    digits.train,
    valid=digits.valid,
    monitor=pb.Monitor("iwae_50", mean_bound),
    objective=pb.IWAE(10, gradient="dreg"),
    epochs=effort(300),
    learning_rate=2e-3,
    **TRAIN,
)
print(f"IWAE bound of the validation set: {run.best:.2f} at epoch {run.best_epoch}")
print(f"ELBO of the test set: {plain_elbo(weighted):.2f}, of the VAE trained by the ELBO: {plain_elbo(small):.2f}")

# %%
counts = (1, 10, 100, 1000, 10_000) if EFFORT == 1 else (1, 10, 100)
truths = {"trained by the ELBO": exact, "trained by the IWAE bound, K = 10": quadrature(weighted, test)}
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for ax, one, (name, truth) in zip(axes, (small, weighted), truths.items(), strict=True):
    results = [one.log_likelihood(digits.test, num_samples=count, **QUIET) for count in counts]
    values = torch.tensor([result.value for result in results])
    bars = torch.tensor([2 * result.stderr for result in results]).nan_to_num()  # one sample tells no error
    print(name)
    for count, result in zip(counts, results, strict=True):
        verdict = "reliable" if result.reliable else f"not reliable: {result.reason.partition(':')[0]}"
        error = result.value - truth.mean()
        print(f"  K = {count:6}: {result.value:.4f} ± {result.stderr:.4f}, true error {error:+.4f}, {verdict}")
    ax.axhline(truth.mean(), color="0.4", linestyle="--", label=f"exact: {truth.mean():.3f}")
    ax.errorbar(counts, values, bars, fmt="o-", markersize=4, capsize=3, label="importance sampling, ± 2 errors")
    ax.set(xscale="log", xlabel="samples K", ylabel="nats per example", title=name)
    ax.legend()

# %% [markdown]
# Both curves come up to the exact value from below. Now look closer.
#
# - The ELBO of the second model is *worse* than that of the first, by about a nat, and its exact likelihood is
#   *better*, by 0.7 nats. Ranked by their ELBOs the two would come out in the wrong order.
# - In the first panel the error bar hardly shrinks from K = 1000 to 10,000, where $1/\sqrt{K}$ promises a third: rare,
#   large weights keep coming. That is what a large $\hat k$ warns of, and the verdict is never *reliable*.
# - The second guide fits its posterior worse by the ELBO's measure, but is better to sample from: from K = 100 on the
#   verdict is *reliable*. Even so, the errors at K = 1000 and 10,000 are about three standard errors each, and both
#   downwards. "Reliable" says that the diagnostics found nothing wrong; a lower bound stays a lower bound.
#
# ### Where the estimate lies
#
# Diagnostics look at the weights that were drawn. What was never drawn, they cannot see. Take a model with a symmetric
# secret: $z \sim \mathrm{Normal}(0, 1)$ and $x \mid z \sim \mathrm{Normal}(z^2, 0.3^2)$. For $x$ well above zero the
# posterior has two modes, at $\pm \sqrt{x}$. A Normal guide can sit on one of them.

# %%
generator = torch.Generator().manual_seed(1)


def squares(count):
    z, noise = torch.randn(2, count, generator=generator)
    return z**2 + 0.3 * noise


def square_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z**2, 0.3), obs=x)


def train_guide(objective):
    torch.manual_seed(1)
    pyro.clear_param_store()
    network = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 2))

    def guide(x):
        pyro.module("network", network)
        loc, log_scale = network(x[:, None]).unbind(1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))

    data = squares(2000)
    pb.fit(square_model, guide, data, objective=objective, epochs=effort(200), learning_rate=5e-3, **TRAIN)
    return guide


line = torch.linspace(-6, 6, 6001, dtype=torch.float64)


def log_joint(x):
    x = x.double()[:, None]
    return dist.Normal(0.0, 1.0).log_prob(line) + dist.Normal(line**2, 0.3).log_prob(x)


observed = squares(300).sort().values
truth = log_joint(observed).logsumexp(1) + math.log(12 / 6000)
figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
for name, objective in {"ELBO": pb.ELBO(), "IWAE, K = 10": pb.IWAE(10, gradient="dreg")}.items():
    square_guide = train_guide(objective)
    result = pb.log_likelihood(square_model, square_guide, observed, num_samples=effort(10_000), **QUIET)
    missing = truth - result.per_example
    print(f"guide trained by {name}: claims {result.value:.3f} ± {result.stderr:.3f}, truth {truth.mean():.3f}")
    print(f"  reliable: {result.reliable}; {result.reason}")
    ax.plot(observed, missing, "o", markersize=3, alpha=0.7, label=f"guide trained by {name}")
ax.axhline(math.log(2), color="0.4", linestyle="--", label="log 2")
ax.set(xlabel="x", ylabel="nats missing at K = 10,000", ylim=(-0.2, 1.1))
ax.legend()
plt.show()

# %% [markdown]
# Where the guide sits on one of two equal modes, half of $p(x)$ is missing, so $\log 2$ nats, and ten thousand samples
# do not find it. The guide of the ELBO misses it as soon as the two modes part, the guide of the IWAE bound reaches
# over both until they are too far apart. Look at the second verdict: *reliable*, with an error bar many times smaller
# than what is missing. The weights that were drawn are fine. No diagnostic of these samples could tell.
#
# So an estimate with `direction="lower"` means what it says: the truth may be higher. For a comparison that matters,
# estimate with another guide as well (wider, or of another family) and take the larger of the two lower bounds.
#
# **Exercise 5.** Give the guide two modes: a mixture of $\mathrm{Normal}(\pm m, s)$ with equal weights
# (`dist.MixtureSameFamily`), and estimate again. How much is still missing? *Hint: `method="importance"` needs samples
# and densities only, so the mixture need not be reparameterized.*
#
# **Exercise 6.** Use the *prior* as a guide for the VAE with 16 latent variables and $K = 1000$:
# `pb.log_likelihood(vae.model, prior_guide, digits.test)`. By how much is it wrong, and what do the diagnostics say?
# Compare ESS with $K e^{-\mathrm{KL}}$ (section 1), the KL from `vae.encode`. *Hint: the guide needs
# `dist.Normal(torch.zeros(16), 1.0).to_event(1)` at the site "z".*

# %% [markdown]
# ## 6. Comparing models
#
# ### The protocol
#
# The same VAE, the same digits, twice: once the pixels are drawn as bits, once they are cut at one half.

# %%
threshold = pb.data.load("digits", binarize="threshold")
torch.manual_seed(0)
cut = pb.VAE(64, latent_dim=16, hidden=(256, 256))
cut.fit(threshold.train, valid=threshold.valid, epochs=effort(200), learning_rate=1e-3, **TRAIN)
print("                        judged on drawn bits   on cut bits")
for name, one in {"trained on drawn bits": vae, "trained on cut bits": cut}.items():
    drawn, cuts = (one.log_likelihood(x, num_samples=effort(1000), **QUIET) for x in (digits.test, threshold.test))
    print(f"{name:21}   {drawn.value:13.2f} ± {drawn.stderr_data:.2f}   {cuts.value:.2f} ± {cuts.stderr_data:.2f}")
print(cuts.protocol)

# %% [markdown]
# The numbers of one column are likelihoods of the same data and can be compared: each model is best on its own kind of
# bits. The numbers of one row are not comparable. Cut bits are less random, so their likelihoods are higher, by four
# nats and by seven; a reader who misses the word "threshold" would see a breakthrough. Each estimate of the library
# carries its protocol for this reason.
#
# ### Baselines, and paired differences
#
# Is the VAE any good? Compare it with what needs no neural network: independent pixels, and a mixture of fifty products
# of Bernoullis, both exact.

# %%
results = {
    "independent pixels": pixels,
    "mixture of 50": mixture_baseline(digits.train, digits.valid, digits.test, 50, seed=0, epochs=effort(200)),
    "VAE, 2 latents, ELBO": small.log_likelihood(digits.test, num_samples=effort(5000), **QUIET),
    "VAE, 2 latents, IWAE": weighted.log_likelihood(digits.test, num_samples=effort(5000), **QUIET),
    "VAE, 16 latents, ELBO": vae.log_likelihood(digits.test, num_samples=effort(5000), **QUIET),
}
pb.plots.estimates(results)
plt.show()

# %% [markdown]
# The bars of the mixture, of the VAE with 16 latent variables and of the one trained by the IWAE bound overlap, each
# with each. But they are errors of the test set's *difficulty*, which all models share: a digit that is hard for one is
# hard for all. The difference of two models, example by example, is much less noisy.

# %%
best = results["VAE, 16 latents, ELBO"]
print("VAE with 16 latents, minus ...   paired          if taken for independent")
for name, result in results.items():
    if result is not best:
        difference = best.per_example - result.per_example
        error = difference.std() / math.sqrt(len(difference))
        apart = math.hypot(best.stderr_data, result.stderr_data)
        print(f"  {name:28} {difference.mean():+.3f} ± {error:.3f}   ± {apart:.3f}")
pb.plots.differences({name: result for name, result in results.items() if result is not pixels}, "mixture of 50")
plt.show()

# %% [markdown]
# Paired, the errors are about a third of what the separate bars suggest (but for the crudest model), and smaller
# differences can be decided: the VAE with 16 latent variables is better than the one with two trained by the IWAE bound
# by more than five paired errors, which the separate ones would have left open. Is it better than the mixture of fifty?
# By less than two errors: 300 test digits do not decide that, and an honest report says so. (These are errors of the
# test set alone. Another seed of training is another model: that spread takes several trainings.)
#
# ### The spiral again
#
# In tutorial 1 an autoencoder cut a spiral in two, and its training error did not tell. Does a likelihood? Eight VAEs
# with one latent variable, which differ in their random start only, judged on their training points and on new ones.
# "Order" is the rank correlation between codes and true positions: 1 for a code that runs along the spiral.


# %%
def spiral(count):
    place = math.pi * (0.5 + torch.rand(count, generator=generator))
    points = 0.6 * place[:, None] * torch.stack([(2 * place).cos(), (2 * place).sin()], 1)
    return place, points + 0.1 * torch.randn(count, 2, generator=generator)


def ranks(values):
    return values.argsort().argsort().double()


(place, known), (_, new) = spiral(600), spiral(600)
starts = []
print("start  order   training points: squared error  log p(x)   new points: log p(x)")
for start in range(8):
    torch.manual_seed(start)
    one = pb.VAE(2, latent_dim=1, hidden=(64, 64), likelihood={"name": "normal", "scale": 0.1})
    one.fit(known, epochs=effort(300), learning_rate=5e-3, **TRAIN)
    order = torch.stack([ranks(place), ranks(one.embed(known)[:, 0])]).corrcoef()[0, 1].abs().item()
    error = (known - one.reconstruct(known)).square().sum(1).mean().item()
    log_p, on_new = (one.log_likelihood(x, num_samples=effort(1000), **QUIET).value for x in (known, new))
    starts.append((log_p, error, order, one))
    print(f"{start:5}  {order:5.2f}   {error:30.4f}  {log_p:8.3f}   {on_new:20.3f}")

# %%
figure, axes = plt.subplots(2, 4, figsize=(11, 5), layout="constrained")
for ax, (log_p, error, order, one) in zip(axes.flat, sorted(starts, key=lambda start: -start[0]), strict=True):
    ax.scatter(*known.T, s=2, color="0.8")
    ax.plot(*one.decode(torch.linspace(-2.5, 2.5, 500)[:, None]).mean.T, color="C0" if order > 0.98 else "C2")
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.set_title(f"log p(x) {log_p:.2f}, error {error:.3f}", fontsize="small")
plt.show()

# %% [markdown]
# Two of the eight starts end in order (blue) and six are torn (red): neither a prior nor a width of the guide prevents
# that. But the likelihood tells. On the training points it is at least 0.2 nats lower for a torn code, where the
# squared errors (but for one) differ by thousandths; on new points it is lower by more than half a nat, since some of
# their codes fall on the short cut. Whoever chooses the start by the likelihood of validation data gets a code in
# order. That is what a likelihood is for.
#
# ### A checklist
#
# Before you write a likelihood into a table:
#
# 1. Is it a likelihood? Not an ELBO with $\beta \ne 1$, nor with free bits, nor a reconstruction error.
# 2. Data set, split, binarization and its seed are named.
# 3. Estimator, $K$ and direction are named; both errors are given.
# 4. $K$ was doubled and nothing moved; $\hat k$ was looked at; for what matters, a second guide agreed.
# 5. Simple baselines stand beside it, under the same protocol, with paired differences.
# 6. Choices were made on the validation set, and the test set was looked at once. (This tutorial looked often, to
#    teach.)
#
# **Exercise 7.** Train `vae` from five seeds. Is the spread between seeds larger or smaller than the paired errors
# above? What does that mean for a table with one number a model? *Hint: `torch.manual_seed` for the start, `seed=` for
# the training.*
#
# ## References
#
# - D. Kingma and M. Welling (2014), *Auto-encoding variational Bayes*, [arXiv
#   1312.6114](https://arxiv.org/abs/1312.6114); D. Rezende, S. Mohamed and D. Wierstra (2014), *Stochastic
#   backpropagation and approximate inference in deep generative models*, [arXiv
#   1401.4082](https://arxiv.org/abs/1401.4082).
# - M. Jordan et al. (1999), *An introduction to variational methods for graphical models*. The bound.
# - R. Williams (1992), *Simple statistical gradient-following algorithms*; R. Ranganath, S. Gerrish and D. Blei (2014),
#   *Black box variational inference*, [arXiv 1401.0118](https://arxiv.org/abs/1401.0118). The score function.
# - Y. Burda, R. Grosse and R. Salakhutdinov (2016), *Importance weighted autoencoders*, [arXiv
#   1509.00519](https://arxiv.org/abs/1509.00519); G. Tucker et al. (2019), *Doubly reparameterized gradient estimators
#   for Monte Carlo objectives*, [arXiv 1810.04152](https://arxiv.org/abs/1810.04152).
# - T. Rainforth et al. (2018), *Tighter variational bounds are not necessarily better*, [arXiv
#   1802.04537](https://arxiv.org/abs/1802.04537).
# - S. Bowman et al. (2016), *Generating sentences from a continuous space*, [arXiv
#   1511.06349](https://arxiv.org/abs/1511.06349); C. Sønderby et al. (2016), *Ladder variational autoencoders*, [arXiv
#   1602.02282](https://arxiv.org/abs/1602.02282). Collapse and warm-up.
# - D. Kingma et al. (2016), *Improved variational inference with inverse autoregressive flow*, [arXiv
#   1606.04934](https://arxiv.org/abs/1606.04934). Free bits.
# - I. Higgins et al. (2017), *beta-VAE*; A. Alemi et al. (2018), *Fixing a broken ELBO*, [arXiv
#   1711.00464](https://arxiv.org/abs/1711.00464). Rate and distortion.
# - A. Vehtari et al. (2024), *Pareto smoothed importance sampling*, [arXiv
#   1507.02646](https://arxiv.org/abs/1507.02646).
# - J. Tomczak (2022), *Deep Generative Modeling*, chapter 4. A book-length account.
