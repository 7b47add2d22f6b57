# %% [markdown]
# # Sparse, contractive, denoising: three ways to forbid the identity
#
# Tutorial 1 ended with an autoencoder whose code was larger than its examples: it copied them, noise as well as digits,
# and had learned nothing. One could make the code small again. But often one wants many features, of which an example
# uses a few. This tutorial keeps the large code, and forbids the copy in three other ways. Each changes one thing in
# the evidence lower bound: the *prior*, the *objective*, or *what the guide sees*.
#
# You will see
#
# 1. why the identity is the optimum where nothing forbids it, and that it is useless;
# 2. sparse codes: a Laplace prior read as MAP, what its $\lambda$ means, and how it is escaped;
# 3. contractive codes: a penalty on the encoder's Jacobian, and the tangents of the data that it uncovers;
# 4. denoising: the best denoiser, the score, a vector field beside the exact one, and a Markov chain that draws;
# 5. what the three have in common;
# 6. the three side by side, measured.
#
# You need tutorial 1 (section 6 above all), Bayes' rule, Jacobians, and some PyTorch. A GPU is not needed.

# %%
import math
import os

import matplotlib.pyplot as plt
import pyro
import torch
from torch import nn
from torch.func import jacrev, vmap

import probae as pb

EFFORT = 0.03 if os.environ.get("PROBAE_TUTORIAL_SHORT") else 1.0  # the project's checks train little; you want 1.0
TRAIN = {"seed": 0, "schedule": "cosine", "compile": "trace", "progress": False}  # settings of all trainings below


def effort(number):
    return max(2, round(EFFORT * number))


def squared_error(x, reconstruction):
    return (x - reconstruction).square().sum(1).mean().item()


plt.rcParams.update({"figure.dpi": 70, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=pb.plots.style.COLOURS)
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## 1. The identity problem
#
# An autoencoder has a flat prior and a Delta guide, $z = f(x)$. With a Normal likelihood of scale $\sigma$ its bound is
#
# $$\mathrm{ELBO}(x) = \log p(x \mid f(x)) = -\frac{\lVert x - r(x) \rVert^2}{2 \sigma^2}
# {} - \frac{D}{2} \log 2 \pi \sigma^2, \qquad r(x) = g(f(x)) .$$
#
# It cannot be above its second term. If the code has at least as many numbers as the example, $r$ can be the identity,
# and the ceiling is reached: for *every* $x$, whatever the data. An objective that all data satisfy equally says
# nothing about any.
#
# Two data sets will show it. One is a spiral in the plane with Normal noise of width 0.1 about it. We know its density:
# it is an average of Normals along the curve. So we also know what would be worth learning from it, and can compare.


# %%
WIDTH = 0.1


def curve(place):
    angle = math.pi * (0.5 + place)
    return 0.6 * angle[:, None] * torch.stack([(2 * angle).cos(), (2 * angle).sin()], 1)


def draw(count):
    return curve(torch.rand(count, generator=generator)) + WIDTH * torch.randn(count, 2, generator=generator)


centres = curve((torch.arange(2000) + 0.5) / 2000)


def log_density(x, s=0.0):
    """Of the spiral with more noise, of scale s, on top; up to a constant."""
    return torch.logsumexp(-torch.cdist(x, centres).square() / (2 * (WIDTH**2 + s**2)), 1)


def exact_score(x, s=0.0):
    """Its gradient: towards the mean of the centres, each weighted by how probable it is."""
    variance = WIDTH**2 + s**2
    weights = torch.softmax(-torch.cdist(x, centres).square() / (2 * variance), 1)
    return (weights @ centres - x) / variance


spiral, new_spiral = draw(2000), draw(5000)
anywhere = 6 * torch.rand(2000, 2, generator=generator) - 3

# %% [markdown]
# Two autoencoders get codes of 128 numbers for points of two.

# %%
PLANE = {"epochs": effort(150), "batch_size": 100, "learning_rate": 5e-3, **TRAIN}
NARROW = {"name": "normal", "scale": 0.1}
copiers = {}
for name, hidden in {"linear": (), "one hidden layer": 128}.items():
    torch.manual_seed(0)
    copiers[name] = pb.Autoencoder(2, latent_dim=128, hidden=hidden, likelihood=NARROW)
    copiers[name].fit(spiral, **PLANE)

print(f"ceiling of the bound: {-math.log(2 * math.pi * 0.1**2):.3f} nats")
for name, one in copiers.items():
    for where, x in {"the spiral": spiral, "points anywhere": anywhere}.items():
        with torch.no_grad():
            bound = -pb.ELBO()(one.model, one.guide, x).item() / len(x)
        print(f"{name:16} ELBO of {where:15} {bound:.3f}, squared error {squared_error(x, one.reconstruct(x)):.5f}")

# %% [markdown]
# A good way to look at $r$ is the vector field $r(x) - x$: where does the model move a point? The third picture shows
# what there is to know about these data: where the density rises, once it is blurred a little.

# %%
fields = {
    "r(x) - x, linear": lambda x: copiers["linear"].reconstruct(x) - x,
    "r(x) - x, one hidden layer": lambda x: copiers["one hidden layer"].reconstruct(x) - x,
    "where the density rises": lambda x: 0.3**2 * exact_score(x, 0.3),
}


def show_fields(fields):
    axes = plt.subplots(1, len(fields), figsize=(3.4 * len(fields), 3.7), layout="constrained")[1]
    for ax, (name, field) in zip(axes, fields.items(), strict=True):
        pb.plots.vector_field(field, spiral, steps=16, scale=0.5, ax=ax)
        ax.set_title(name)
    plt.show()


show_fields(fields)

# %% [markdown]
# The copiers move nothing: their arrows are dots. They have 128 numbers and the smallest possible loss, and have not
# found out where the data are.
#
# The other data set are the digits of tutorial 1, in 8 × 8 pixels, with codes of 128 numbers. Beside them stand
# *shuffled* digits, in which each pixel was exchanged among the images, so that nothing holds the pixels together. And
# a *linear probe* asks what a code is good for: how many test digits a linear classifier names from it, compared with
# the pixels themselves.

# %%
digits = pb.data.load("digits", binarize="none")
train, test = digits.train.tensor, digits.test.tensor
shuffled = torch.stack([column[torch.randperm(len(test), generator=generator)] for column in test.unbind(1)], 1)

DIGITS = {"valid": digits.valid, "epochs": effort(150), "batch_size": 64, "learning_rate": 2e-3, **TRAIN}
NOISE = {"name": "normal", "scale": 0.2}  # of a pixel
models = {}
for name, hidden in {"copier, linear": (), "copier, deep": 256}.items():
    torch.manual_seed(0)
    models[name] = pb.Autoencoder(64, latent_dim=128, hidden=hidden, likelihood=NOISE)
    models[name].fit(digits.train, **DIGITS)

for name, one in models.items():
    on_digits, on_junk = (squared_error(x, one.reconstruct(x)) for x in (test, shuffled))
    print(f"{name:14} squared error: digits {on_digits:.4f}, shuffled {on_junk:.4f}")
    print(f"{'':14} probe: {pb.applications.linear_probe(one, digits.train, digits.test)}")

# %% [markdown]
# Both errors are as good as zero beside the variance of the digits, and so is the gain: these codes say nothing that
# the pixels did not say as plainly.
#
# What forbids the identity? A code that is smaller than the example does, and so does each of these three:
#
# | | what changes | where | what becomes dear |
# |---|---|---|---|
# | sparse | $p(z)$: flat → Laplace | the prior | each unit that is active |
# | contractive | $+ \lambda \lVert J_f \rVert^2$ | a penalty of the objective | each direction in which codes move |
# | denoising | $f(x)$ → $f(\tilde x)$, $\tilde x$ a spoiled $x$ | a site of the guide | noise that comes through |
#
# **Exercise 1.** A VAE with 128 latent variables is overcomplete too. Which of its four places forbids the identity?
# *Hint: let the encoder copy, with a width $s \to 0$. What does $\log q(z \mid x)$ do in the bound?*

# %% [markdown]
# ## 2. Sparse: a prior
#
# Put $p(z) = \prod_j \mathrm{Laplace}(z_j; 0, 1/\lambda)$ in place of the flat prior and leave the rest:
#
# $$\mathrm{ELBO}(x) = \log p(x \mid f(x)) - \lambda \lVert f(x) \rVert_1 + L \log \frac{\lambda}{2} .$$
#
# The guide is a point, so training looks for the code of the largest $p(x, z)$: maximum a posteriori (MAP). The L1
# penalty of the textbooks came out by itself, with a unit: $\lambda$ is in *nats per unit of* $|z_j|$. Multiply the
# loss by $2 \sigma^2$ and the textbook's form appears,
#
# $$\lVert x - r(x) \rVert^2 + \alpha \lVert f(x) \rVert_1 + \text{const}, \qquad \alpha = 2 \sigma^2 \lambda .$$
#
# So the weight $\alpha$ that one tunes is two beliefs in one number: how exact a reconstruction should be, and how rare
# an active unit. Two pairs with the same $\alpha$ have the same loss, but for scale and constant:

# %%
for sigma, strength in ((0.2, 4.0), (0.1, 16.0)):
    torch.manual_seed(0)
    one = pb.SparseAutoencoder(64, 128, strength=strength, likelihood={"name": "normal", "scale": sigma})
    one.prepare(train)
    with torch.no_grad():
        loss = pb.ELBO()(one.model, one.guide, test).item() / len(test)
    constant = 32 * math.log(2 * math.pi * sigma**2) - 128 * math.log(strength / 2)
    alpha, z = 2 * sigma**2 * strength, one.embed(test)
    textbook = squared_error(test, one.reconstruct(test)) + alpha * z.abs().sum(1).mean().item()
    scaled = 2 * sigma**2 * (loss - constant)
    print(f"sigma {sigma}, lambda {strength:4}: 2 sigma^2 (loss - constant) = {scaled:.4f}; ", end="")
    print(f"textbook with alpha {alpha:.2f}: {textbook:.4f}")

# %% [markdown]
# `pb.SparseAutoencoder` has two relatives of this prior, which are no priors. A *target rate* asks that each unit's
# mean over the batch be, say, 0.05: a penalty on the batch, for sigmoid units. *Top-k* keeps the $k$ largest units and
# sets the others to zero: a nonlinearity of the encoder, which penalizes nothing. `activity` tells how often units are
# active, and which are *dead*: the same in every digit. (For a sigmoid unit, "active" means above one half.)

# %%
kinds = {"L1": {"strength": 4.0}, "target rate": {"target_rate": 0.05, "strength": 4.0}, "top-k": {"top_k": 8}}
sparse, activity = {}, {}
print("                units active   dead   squared error: digits   shuffled   share of the largest unit")
for name, settings in kinds.items():
    torch.manual_seed(0)
    one = sparse[name] = pb.SparseAutoencoder(64, 128, likelihood=NOISE, **settings)
    one.fit(digits.train, **DIGITS)
    activity[name], z = one.activity(digits.train), one.embed(test)
    on_digits, on_junk = (squared_error(x, one.reconstruct(x)) for x in (test, shuffled))
    share = (z.abs().max(1).values / z.abs().sum(1)).mean()
    print(f"{name:14} {128 * activity[name].active_share:6.1f} of 128 {len(activity[name].dead):6} ", end="")
    print(f"{on_digits:23.3f} {on_junk:10.3f} {share:27.2f}")
models["sparse"] = sparse["L1"]
print(f"mean of the sigmoid units: {activity['target rate'].means.mean():.3f}, where 0.05 was asked for")

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
pb.plots.filters(models["copier, linear"].decoder[0].weight.detach().T[:16], cols=4, ax=axes[0])
axes[0].set_title("copier")
for ax, (name, one) in zip(axes[1:], sparse.items(), strict=True):
    pb.plots.filters(one.dictionary[activity[name].rates.argsort(descending=True)[:16]], cols=4, ax=ax)
    ax.set_title(name)

figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, found in activity.items():
    ax.plot(range(1, 129), found.rates.sort(descending=True).values, label=name)
ax.set(xlabel="unit, the most active first", ylabel="share of digits in which it is active", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# The dictionaries of L1 and top-k are made of strokes and parts of strokes; the columns of the copier are noise, since
# any basis will do to copy. (Shown are the most active units.) With L1 about a tenth of the units are active in a
# digit, another tenth in another digit, and none is dead. Top-k is exact about the number, but it has winners, which
# are active in a fifth of the digits, and losers, a few of which are dead.
#
# The target rate is nearly met, and yet these codes are not sparse. The largest unit has only a small share of the sum,
# as if all were a little active in every digit: a mean of 0.05 can be 1 in a twentieth of the digits, or 0.05 in all of
# them. The shuffled digits come out better here than with the other two, which is no praise.
#
# ### How the penalty is escaped
#
# Take any code and divide it by ten, and multiply the decoder's columns by ten: the reconstruction is what it was, the
# penalty a tenth. So `SparseAutoencoder` keeps each column of its decoder at most one long. A decoder of your own is
# yours to bound. Here is one without a bound: it starts from the trained dictionary, and training goes on.

# %%
free = pb.SparseAutoencoder(64, 128, strength=4.0, likelihood=NOISE, decoder=nn.Sequential(nn.Linear(128, 64)))
free.encoder.load_state_dict(sparse["L1"].encoder.state_dict())
with torch.no_grad():
    free.decoder[0].weight.copy_(sparse["L1"].dictionary.T)
    free.decoder[0].bias.copy_(sparse["L1"].decoder[0].bias)


class Watch(pb.Callback):
    """What a function returns after each epoch."""

    def __init__(self, look):
        self.look, self.seen = look, []

    def on_epoch_end(self, training):
        self.seen.append(self.look())


def price_and_columns():
    price = free.strength * free.embed(train).abs().sum(1).mean().item()
    columns = free.decoder[0].weight.detach().norm(dim=0).mean().item()
    return price, columns, squared_error(train, free.reconstruct(train))


before = price_and_columns()
watch = Watch(price_and_columns)
free.fit(digits.train, epochs=effort(300), batch_size=64, learning_rate=2e-3, callbacks=watch, **TRAIN)
for when, (price, columns, error) in {"bounded": before, "set free": watch.seen[-1]}.items():
    print(f"{when:8}  price of a code {price:5.2f} nats, mean length of a column {columns:.2f}, ", end="")
    print(f"squared error {error:.3f}")
print(f"units active in a digit: {128 * free.activity(digits.train).active_share:.1f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 2.8), layout="constrained")
titles = ("price of a code, nats", "mean length of a column", "squared error, training set")
for ax, title, values in zip(axes, titles, zip(before, *watch.seen, strict=True), strict=True):
    ax.plot(values)
    ax.set(title=title, xlabel="epochs without the bound", ylim=(0, None))
plt.show()

# %% [markdown]
# The price of a code falls to a third, while columns grow to four times their length. About as many units are active as
# before, only fainter, and the error falls too: $\lambda = 4$ now buys what $\lambda \approx 1$ bought with the bound.
# Nothing was learned, the unit of $z$ was changed. *A penalty on codes means something only if the decoder is bounded.*
#
# **Exercise 2.** Let $r(x) = z d$ with one unit $z \ge 0$ and a column $d$ of length one. Which $z$ maximizes the ELBO?
# *Hint: complete the square. The answer is a soft threshold, and $\sigma^2 \lambda$ is where it lies.*
#
# **Exercise 3.** What does a Normal prior do instead (`prior="normal"`)? Why does it make codes small but not sparse?
# *Hint: look at the slope of the penalty at $z = 0$.*

# %% [markdown]
# ## 3. Contractive: a penalty
#
# The prior stays flat, and the objective gets
#
# $$\lambda\, \lVert J_f(x) \rVert^2 = \lambda \sum_{ij} \Big(\frac{\partial f_i}{\partial x_j}\Big)^2 ,$$
#
# the squared Frobenius norm of the encoder's Jacobian (Rifai et al. 2011). For one layer of sigmoid units,
# $h = \mathrm{sigmoid}(W x + b)$, it is $\sum_i h_i^2 (1 - h_i)^2 \lVert w_i \rVert^2$; for others it is
# differentiated, or estimated. It is the sum of the squared *singular values* of $J_f$: each direction of $x$ in which
# the code moves has its price. The reconstruction refuses to give up the directions in which the data vary. It gives up
# the others. So at each $x$ the few large singular values should belong to the data's tangents.
#
# This penalty can be escaped just like the other: codes shrink, the decoder grows. Codes of sigmoid units are between 0
# and 1, but their middle part is nearly linear, and very small codes fit in there. Rifai et al. *tie* the decoder to
# the encoder: it uses the same weights, transposed, so that one cannot shrink while the other grows (`tied=True`). We
# train one without penalty, one with a free decoder, and one that is tied, and watch how much of a step *across* the
# curve comes through the whole autoencoder: the second singular value of $J_r$.

# %%
places = torch.linspace(0.03, 0.97, 25)
on_curve = curve(places)
true_tangents = nn.functional.normalize(vmap(jacrev(lambda place: curve(place[None])[0]))(places), dim=1)


def singular_values(one, x, squash=torch.sigmoid):
    """Of the whole autoencoder, at each example."""
    jacobians = vmap(jacrev(lambda row: one.decoder(squash(one.encoder(row)))))(x)
    return torch.linalg.svdvals(jacobians.detach())


ways = {"no penalty": {"strength": 0.0}, "free": {"strength": 100.0}, "tied": {"strength": 100.0, "tied": True}}
contractive, through = {}, {}
for name, settings in ways.items():
    torch.manual_seed(0)
    one = contractive[name] = pb.ContractiveAutoencoder(2, 128, 128, likelihood=NARROW, **settings)
    watch = Watch(lambda one=one: singular_values(one, on_curve)[:, 1].median().item())
    one.fit(spiral, epochs=effort(250), batch_size=200, learning_rate=5e-3, callbacks=watch, **TRAIN)
    through[name], tangents = watch.seen, one.tangents(on_curve)
    angles = torch.rad2deg((tangents.directions[:, 0] * true_tangents).sum(1).abs().clamp(max=1).acos())
    along, across = tangents.singular_values.median(0).values.tolist()
    print(
        f"{name:10} squared error {squared_error(spiral, one.reconstruct(spiral)):.4f}; encoder: singular values ",
        end="",
    )
    print(f"{along:.3f} and {across:.3f}, the first {angles.median():.0f} degrees from the curve")

# %%
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, values in through.items():
    ax.plot(range(1, len(values) + 1), values, label=name)
ax.set(xlabel="epoch", ylabel="second singular value of r", ylim=(0, 1.05))
ax.legend()
plt.show()

# %% [markdown]
# Without a penalty the step comes through whole in the end: a copier. With a tied decoder less and less of it does,
# down to about a fifth. And with a free decoder? It starts well, but then codes shrink, the decoder grows, the penalty
# goes on falling, and the model is on its way back to the identity. (Its encoder's first singular value is less than
# half that of the tied one, its second about half, and more comes through.) Whoever stops early does not see it.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
for ax, (name, one) in zip(axes, contractive.items(), strict=True):
    tangents = one.tangents(on_curve)
    lengths = 0.4 * tangents.singular_values / tangents.singular_values[:, :1]
    ax.scatter(*spiral[:700].T, s=4, color="0.8")
    for arm, colour in zip((lengths[..., None] * tangents.directions).unbind(1), ("C2", "C0"), strict=True):
        ax.plot(*torch.stack([on_curve - arm, on_curve + arm]).unbind(-1), color=colour, linewidth=2)
    ax.set(aspect="equal", title=name)
plt.show()

# %% [markdown]
# Each cross shows the two directions in which the code moves, as long as their singular values (the longer one, in red,
# always the same). Without a penalty the crosses have two arms of similar length, in any direction. With it, one arm
# lies along the curve, wherever the curve turns, and the other is short: the encoder has found the tangents. It was
# never told that there is a curve.
#
# ### Digits
#
# No one knows the tangents of the digits. But neighbours help: the difference of a test digit and a near training digit
# lies roughly along the manifold. How much of it do the first directions of the encoder explain? For comparison: PCA,
# which has the same directions for all digits.

# %%
for name, strength in {"no penalty": 0.0, "contractive": 10.0}.items():
    torch.manual_seed(0)
    models[name] = pb.ContractiveAutoencoder(64, 128, 256, strength, NOISE, tied=True)
    models[name].fit(digits.train, **DIGITS)

nearest = torch.cdist(test, train).topk(5, largest=False).indices
differences = train[nearest] - test[:, None]  # (300, 5, 64)


def explained(directions, count):
    """The share of the squared differences to neighbours that lies in the first of a digit's directions."""
    within = torch.einsum("nkd,njd->njk", directions[:, :count], differences)
    return (within.square().sum((1, 2)) / differences.square().sum((1, 2))).mean().item()


tangents = {name: models[name].tangents(test) for name in ("no penalty", "contractive")}
components = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh.expand(len(test), -1, -1)
directions = {"PCA": components, **{name: found.directions for name, found in tangents.items()}}
print("share of the differences to five neighbours in the first        4      8     16 of 64 directions")
for name, found in directions.items():
    print(f"{name:60}", "  ".join(f"{explained(found, count):.1%}" for count in (4, 8, 16)))

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained", width_ratios=(4.4, 0.9, 3.4, 3.4))
for name, found in tangents.items():
    values = found.singular_values / found.singular_values[:, :1]
    axes[0].semilogy(range(1, 65), values.mean(0), label=name)
axes[0].set(xlabel="number", ylabel="singular value / largest", ylim=(1e-3, 1.2))
axes[0].legend()
chosen = torch.tensor([int((digits.test.labels == label).nonzero()[0]) for label in (0, 3, 7)])
pb.plots.image_grid(test[chosen], cols=1, ax=axes[1])
for ax, (name, found) in zip(axes[2:], tangents.items(), strict=True):
    pb.plots.filters(found.directions[chosen, :4].flatten(0, 1), cols=4, ax=ax)
    ax.set_title(f"{name}: first directions")
plt.show()

# %% [markdown]
# Of the 64 directions the encoder without a penalty uses some fifty nearly alike, and its first ones explain neighbours
# hardly better than directions at random would (4 of 64 are 6%). The contractive one has a cliff: some directions
# count, and beyond twenty or so they have a tenth and less. Its first four and eight explain neighbours a little better
# than the principal components of all digits do, since they depend on the digit. At sixteen that is over. In the
# pictures, its directions keep to where a stroke could go; those without a penalty reach everywhere.
#
# **Exercise 4.** For a linear encoder $f(x) = W x$ with a tied decoder on data of covariance $\Sigma$ (mean zero):
# which directions survive the penalty, and by how much are they shortened? *Hint: choose $W^\top W$ diagonal where
# $\Sigma$ is, with entries $a_i$, and minimize $(1 - a_i)^2 \Sigma_{ii} / 2 \sigma^2 + \lambda a_i$ for each.*

# %% [markdown]
# ## 4. Denoising: what the guide sees
#
# The third way spoils the example before the guide sees it. The corruption $C(\tilde x \mid x)$ is a distribution, such
# as Normal noise, or zeros in place of some pixels. In the guide it is one more site; the code is $f(\tilde x)$, and
# the likelihood is still asked for the clean $x$:
#
# $$\mathbb{E}_{C(\tilde x \mid x)} \big[ \log p(x \mid f(\tilde x)) \big] .$$
#
# To copy $\tilde x$ is no longer the best one can do. The site is *auxiliary*: the model does not have it. If its
# density counted in the bound, the loss would be off by the entropy of the noise. So it is masked out:

# %%
torch.manual_seed(0)
one = pb.DenoisingAutoencoder(2, 128, 128, {"name": "gaussian", "scale": 0.2}, NARROW)
trace = pyro.poutine.trace(one.guide).get_trace(spiral)
trace.compute_log_prob()
for name in ("x_corrupted", "z"):
    site = trace.nodes[name]
    print(f"{name:11} in the bound: {site['log_prob_sum']:.1f}; auxiliary: {bool(site['infer'].get('is_auxiliary'))}")
site = trace.nodes["x_corrupted"]
print(f"had it counted: {site['fn'].log_prob(site['value']).mean():.2f} nats a point, ", end="")
print(f"minus the entropy of the noise: {-math.log(2 * math.pi * math.e * 0.2**2):.2f}")

# %% [markdown]
# ### The best denoiser knows the score
#
# Which $r$ minimizes $\mathbb{E} \lVert x - r(\tilde x) \rVert^2$? For each $\tilde x$ the mean of what it may have
# been: $r^*(\tilde x) = \mathbb{E}[x \mid \tilde x]$. Let the noise be Normal of variance $s^2$, and $p_s$ the density
# of the noisy points, the data *blurred*. Then
#
# $$\nabla \log p_s(\tilde x) = \frac{1}{p_s(\tilde x)} \int p(x)\,
# \nabla_{\tilde x} \mathrm{Normal}(\tilde x; x, s^2)\, dx
# = \mathbb{E}\Big[ \frac{x - \tilde x}{s^2} \,\Big|\, \tilde x \Big] = \frac{r^*(\tilde x) - \tilde x}{s^2} .$$
#
# This is Tweedie's formula (Robbins 1956): the denoiser's step, divided by $s^2$, is the *score*, the direction in
# which the density rises. No density was ever computed, no labels, no integral $Z$: only squares. `score(x)` returns
# it. Here we can check it, since for the spiral $p_s$ is known.


# %%
def denoiser(s, scale=None, walkback=0):
    torch.manual_seed(0)
    corruption, likelihood = {"name": "gaussian", "scale": s}, {"name": "normal", "scale": scale or s}
    one = pb.DenoisingAutoencoder(2, 128, 128, corruption, likelihood, activation="silu", walkback=walkback)
    one.fit(spiral, **PLANE)
    return one


denoisers = {s: denoiser(s) for s in (0.1, 0.2, 0.5)}
print("noise   squared error   of the best   excess   error of the score, of its size")
for s, one in denoisers.items():
    seen = new_spiral + s * torch.randn(new_spiral.shape, generator=generator)
    truth = exact_score(seen, s)
    risk, best = (squared_error(new_spiral, x) for x in (one.denoise(seen), seen + s**2 * truth))
    relative = math.sqrt(squared_error(truth, one.score(seen)) / squared_error(truth, torch.zeros_like(truth)))
    print(f"{s:5}   {risk:13.4f}   {best:11.4f}   {risk / best - 1:6.1%}   {relative:15.0%}")

# %%
figure, axes = plt.subplots(2, 2, figsize=(6.6, 7), layout="constrained")
for (left, right), s in zip(axes, (0.2, 0.5), strict=True):
    pb.plots.vector_field(denoisers[s].score, spiral, steps=16, scale=0.5 * s**2, ax=left)
    limits = left.get_xlim(), left.get_ylim()
    pb.plots.density(lambda x, s=s: log_density(x, s), limits=limits, ax=right)
    pb.plots.vector_field(lambda x, s=s: exact_score(x, s), limits=limits, steps=16, scale=0.5 * s**2, ax=right)
    left.set_title(f"learned, noise {s}")
    right.set_title("exact, over the density", y=1.05)
plt.show()

# %%
grid = torch.cartesian_prod(torch.linspace(-4, 4, 161), torch.linspace(-4, 4, 161))
distance = torch.cdist(grid, centres).min(1).values
print("error of the score, of its size, by distance from the curve")
print("noise   " + "   ".join(f"{low} to {high}" for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 1), (1, 2))))
for s, one in denoisers.items():
    cells = []
    for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 1), (1, 2)):
        x = grid[(distance >= low) & (distance < high)]
        truth = exact_score(x, s)
        cells.append(math.sqrt(squared_error(truth, one.score(x)) / truth.square().sum(1).mean().item()))
    print(f"{s:5}   {cells[0]:9.0%}   {cells[1]:11.0%}   {cells[2]:8.0%}   {cells[3]:6.0%}")

# %% [markdown]
# The denoisers are within a few percent of the best there can be, and their arrows point home. But the score is a
# harder judge than the squared error: for small noise the step $r(\tilde x) - \tilde x$ is small, and what is wrong
# with it is divided by $s^2$ (exercise 5). More noise makes the score easy, and less interesting: at 0.5 the two ends
# of the spiral have grown together. Where there are no noisy points, there is nothing to learn from: with noise 0.2 the
# error doubles beyond half a unit from the curve, and the middle of the spiral is calm where it should be busy. *Much
# noise tells where the data are from afar, little noise what they are like close by.* Today's diffusion models learn
# all scales at once.
#
# ### A Markov chain that draws from what was learned
#
# Spoil a point, $\tilde x \sim C(\tilde x \mid x)$, then draw a clean one, $x \sim p(x \mid f(\tilde x))$, and so on.
# If $p(x \mid f(\tilde x))$ were the true $p(x \mid \tilde x)$, this would be Gibbs sampling of the pair
# $(x, \tilde x)$, and the chain would draw from the data (Bengio et al. 2013). `sample` runs it: "gibbs". With
# `method="langevin"` it follows the score instead, $x + \frac{s^2}{2} \nabla \log p_s(x) + s \varepsilon$, which draws
# from about the *blurred* density.
#
# The chain should find home from anywhere. But training showed the denoiser only points about one $s$ away from the
# data, and farther out it extrapolates. *Walkback* spoils not only the examples but also the points to which the chain
# itself has strayed from them within a few steps, and teaches the way back from there. For small noise, with the
# likelihood's scale set to the best denoiser's error:

# %%
chains = {"without walkback": denoiser(0.1, 0.085), "walkback 5": denoiser(0.1, 0.085, walkback=5)}
start = 12 * torch.rand(1000, 2, generator=generator) - 6
counts = (1, 5, 20, 100, 500) if EFFORT == 1 else (1, 5)
print("chains from anywhere: share farther than 0.4 from the curve, and distance (root mean square)")
print(f"{'steps':27}" + "".join(f"{count:>14}" for count in counts))
ends = {}
for name, one in chains.items():
    for method in ("gibbs", "langevin"):
        cells = []
        for count in counts:
            torch.manual_seed(0)
            x = ends[name, method] = one.sample(start=start, steps=count, method=method)
            away = torch.cdist(x, centres).min(1).values
            cells.append(f"{(away > 0.4).double().mean():.1%}  {away.square().mean().sqrt():.2f}")
        print(f"{name:17} {method:9}" + "".join(f"{cell:>14}" for cell in cells))
away = torch.cdist(new_spiral, centres).min(1).values
print(f"{'the data':27}{f'{(away > 0.4).double().mean():.1%}  {away.square().mean().sqrt():.2f}':>14}")
for name, one in chains.items():
    seen = new_spiral + 0.1 * torch.randn(new_spiral.shape, generator=generator)
    truth = exact_score(seen, 0.1)
    relative = math.sqrt(squared_error(truth, one.score(seen)) / truth.square().sum(1).mean().item())
    print(f"{name:17} error of the score, of its size: {relative:.0%}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.8), layout="constrained")
plain = chains["without walkback"]
pb.plots.vector_field(lambda x: plain.denoise(x) - x, spiral, ((-6.0, 6.0), (-6.0, 6.0)), steps=16, ax=axes[0])
torch.manual_seed(0)
paths = [start[:6]]
for _ in range(30):
    paths.append(plain.sample(start=paths[-1], steps=1))
axes[0].plot(*torch.stack(paths).unbind(-1), ".-", color="0.1", markersize=4, linewidth=1)
axes[0].set_title("six chains, 30 steps")
for ax, name in zip(axes[1:], chains, strict=True):
    ax.scatter(*ends[name, "gibbs"].T, s=4, linewidths=0)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
    ax.set_title(f"{name}: 1000 chains")
plt.show()

# %% [markdown]
# From anywhere the chains run to the curve within a few steps, and then along it. Without walkback a little more than
# one in a hundred is found off the curve however long one waits: near the left end, where the field is weak, chains
# step out and are slow to return. Walkback ends that, and its samples lie about the curve as closely as the data do. It
# has a price. What it learns is to return from *several* steps away, so that its step is no longer $s^2$ times the
# score: the error of `score` doubles. Train with walkback to draw, without it to have a score.
#
# (Langevin chains end farther from the curve. They draw from the blurred density, and their steps are not small.)
#
# **Exercise 5.** Show that the excess of a denoiser over the best is
# $\mathbb{E} \lVert r(\tilde x) - r^*(\tilde x) \rVert^2$. What does an excess error of $\epsilon$ mean for the score?
# *Hint: expand the square; $x - r^*(\tilde x)$ is uncorrelated with every function of $\tilde x$.*
#
# **Exercise 6.** The data are one Normal, $\mathrm{Normal}(0, \Sigma)$. What are $r^*$ and the score, and which
# directions does $r^*$ let through? *Hint: $r^*$ is linear. Compare with exercise 4.*

# %% [markdown]
# ## 5. What they have in common
#
# ### Little noise is a contraction
#
# Let the noise be small, $\tilde x = x + s \varepsilon$, and expand $r$ about $x$. To second order in $s$
#
# $$\mathbb{E}_\varepsilon \lVert x - r(x + s \varepsilon) \rVert^2 = \lVert x - r(x) \rVert^2
# {} + s^2 \lVert J_r(x) \rVert^2 + s^2 (r(x) - x)^\top \Delta r(x) + \dots$$
#
# At the optimum $r(x) - x$ is of order $s^2$, and with it $\Delta r = \Delta (r - x)$, so that the last term is of
# order $s^6$ and does not count. What remains is a *contractive* autoencoder of strength $s^2$, whose penalty is on the
# whole $J_r$ instead of $J_f$, and so cannot be escaped by scaling. Alain and Bengio (2014) show that its optimum, too,
# obeys
#
# $$r(x) - x = s^2\, \nabla \log p(x) + o(s^2) .$$
#
# On the line both optima can be computed without any training. The denoiser's is Tweedie's formula. The contractive one
# minimizes $\int p\, [(r - x)^2 + s^2 r'^2]\, dx$; on a grid, that is a quadratic function of the values of $r$, and
# its minimum one linear system. The data: two Normals, at -1 and 1, of width 0.5.

# %%
line = torch.linspace(-3.5, 3.5, 1401, dtype=torch.float64)
step = line[1] - line[0]


def mixture(x, variance):
    """The density of two Normals of a variance, and its score."""
    away = torch.tensor([-1.0, 1.0]) - x[:, None]
    parts = torch.exp(-away.square() / (2 * variance)) / math.sqrt(8 * math.pi * variance)
    return parts.sum(1), (parts * away).sum(1) / parts.sum(1) / variance


p, score = mixture(line, 0.25)


def contractive_optimum(s):
    middle = mixture(0.5 * (line[1:] + line[:-1]), 0.25)[0] * s**2 / step**2
    stiffness = torch.diag(nn.functional.pad(middle, (0, 1)) + nn.functional.pad(middle, (1, 0)))
    stiffness -= torch.diag(middle, 1) + torch.diag(middle, -1)
    return torch.linalg.solve(torch.diag(p) + stiffness, p * line)


def size(difference):
    return ((p * difference.square()).sum() / (p * score.square()).sum()).sqrt().item()


print("noise   denoising - contractive   denoising - score   contractive - score   (of the score's size)")
rows = []
for s in (0.4, 0.2, 0.1, 0.05):
    noisy, squeezed = mixture(line, 0.25 + s**2)[1], (contractive_optimum(s) - line) / s**2
    rows.append((s, noisy, squeezed, size(noisy - squeezed), size(noisy - score), size(squeezed - score)))
    print(f"{s:5}   {rows[-1][3]:23.4f}   {rows[-1][4]:17.4f}   {rows[-1][5]:19.4f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for ax, (s, noisy, squeezed, *_) in zip(axes, (rows[0], rows[2]), strict=True):
    ax.fill_between(line, 4 * p, color="0.9")
    ax.plot(line, noisy, label="denoising")
    ax.plot(line, squeezed, label="contractive")
    ax.plot(line, score, "--", color="0.3", label="score of the data")
    ax.set(xlim=(-2.5, 2.5), ylim=(-6, 6), xlabel="x", ylabel="(r(x) - x) / s²", title=f"s = {s}; grey: the density")
axes[0].legend()
plt.show()

# %% [markdown]
# Already at $s = 0.4$ the two optima are near each other, nearer than either to the score of the data: both know a
# *blurred* score. As the noise gets smaller all three come together, and halving the noise divides the differences by
# three to four in the end: they are of order $s^2$.
#
# And with networks? Any function of the batch can be a penalty of the objective. So the spiral again, by a plain
# autoencoder with $\frac{1}{2} \lVert J_r \rVert^2$ beside a likelihood of scale $s$, which is a strength of $s^2$
# beside the squared error:

# %%
squeezed = {}
print("noise   difference of the two fields on new points, of their size")
for s in (0.2, 0.5):
    torch.manual_seed(0)
    one = squeezed[s] = pb.Autoencoder(2, 128, 128, {"name": "normal", "scale": s}, activation="silu")

    def norm_of_jacobian(x, guide_trace, one=one):
        return 0.5 * vmap(jacrev(lambda row: one.decoder(one.encoder(row))))(x).square().sum((1, 2))

    one.fit(spiral, objective=pb.ELBO(penalties=norm_of_jacobian), **PLANE)
    moved = denoisers[s].denoise(new_spiral) - new_spiral
    difference = squared_error(moved, one.reconstruct(new_spiral) - new_spiral)
    print(f"{s:5}   {math.sqrt(difference / moved.square().sum(1).mean().item()):.0%}")

show_fields(
    {
        "denoising": lambda x: denoisers[0.2].denoise(x) - x,
        "contractive in r": lambda x: squeezed[0.2].reconstruct(x) - x,
        "contractive in f (tied)": lambda x: contractive["tied"].reconstruct(x) - x,
    }
)

# %% [markdown]
# One was shown noise and never a Jacobian, the other a Jacobian and never noise. Their fields differ by a fifth to a
# third of their size, and near the curve the eye hardly tells them apart. The tied contractive model of section 3, at
# another strength, has the same kind of field: zero along the curve, and towards it from either side.
#
# ### All three let few directions through
#
# Now the digits. One more model: a denoising one, with Normal noise of 0.25 a pixel. For each, the singular values of
# $J_r$ at test digits: how many directions of a change come through?

# %%
torch.manual_seed(0)
models["denoising"] = pb.DenoisingAutoencoder(64, 128, 256, {"name": "gaussian", "scale": 0.25}, NOISE)
models["denoising"].fit(digits.train, **DIGITS)

figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
squashes = {"sparse": torch.relu, "contractive": torch.sigmoid}
for name in ("copier, linear", "copier, deep", "sparse", "contractive", "denoising"):
    values = singular_values(models[name], test[:100], squashes.get(name, nn.Identity()))
    large = (values > 0.3).double().sum(1).mean()
    print(f"{name:14} singular values above 0.3: {large:4.1f} of 64")  # on average
    ax.plot(range(1, 65), values.mean(0), label=name)
ax.set(xlabel="number", ylabel="singular value of the reconstruction", ylim=(0, None))
ax.legend()
plt.show()

encoder = vmap(jacrev(models["denoising"].encoder))(test).detach()
found = torch.linalg.svd(encoder, full_matrices=False).Vh
print("differences to neighbours in the first 4, 8, 16 directions of the denoiser's code: ", end="")
print(", ".join(f"{explained(found, count):.1%}" for count in (4, 8, 16)))

# %% [markdown]
# The copiers let through fifty directions and more. The other three let through twelve to eighteen, although their
# codes have 128 numbers, and each has its own way to say no. The sparse model's is exact: as many directions as units
# are active, the strongest of them at more than their size. The contractive one has its cliff. The denoising one lets
# each direction through by as much as the data vary there, compared with the noise (exercise 6). And without a word
# about Jacobians in its objective, its code explains neighbours better than the contractive one's does, and better than
# PCA.
#
# ## 6. Side by side
#
# Three questions for each model, beside an autoencoder with a small code (16 numbers):
#
# - *What does the code know?* A linear probe trained on all 1,197 labelled digits, and on 100 (the mean over five sets
#   of 100).
# - *Does it stand noise?* The probe trained on clean digits judges the codes of noisy ones (Normal noise of 0.25 a
#   pixel).
# - *What does it reconstruct?* Clean digits; noisy ones, compared with the clean; and shuffled ones, which it had
#   better not.

# %%
torch.manual_seed(0)
models["16 numbers"] = pb.Autoencoder(64, 16, 256, NOISE)
models["16 numbers"].fit(digits.train, **DIGITS)

noisy = test + 0.25 * torch.randn(test.shape, generator=generator)
labels = digits.train.labels


def judged(one):
    probe = pb.applications.linear_probe
    whole, sets = probe(one, digits.train, digits.test), effort(5)
    few = [probe(one, (train[i : i + 100], labels[i : i + 100]), digits.test) for i in range(0, 100 * sets, 100)]
    loud = probe(one, digits.train, (noisy, digits.test.labels))
    return whole, sum(map(float, few)) / sets, sum(found.raw_accuracy for found in few) / sets, loud


print("                 probe: all labels   100 labels   noisy     squared error: digits   noisy   shuffled")
results = {}
for name in ("copier, linear", "copier, deep", "16 numbers", "sparse", "contractive", "denoising"):
    one = models[name]
    whole, few, raw_few, loud = results[name] = judged(one)
    pairs = ((test, test), (test, noisy), (shuffled, shuffled))
    errors = [squared_error(clean, one.reconstruct(x)) for clean, x in pairs]
    print(f"{name:15} {whole.accuracy:11.1%} ± {whole.stderr:.1%}   {few:10.1%}   {loud.accuracy:5.1%} ", end="")
    print("{:24.3f}   {:5.3f}   {:8.3f}".format(*errors))
cells = f"{whole.raw_accuracy:11.1%} ± {whole.raw_stderr:.1%}   {raw_few:10.1%}   {loud.raw_accuracy:5.1%} "
print(f"{'the pixels':15} {cells}{0:24.3f}   {squared_error(test, noisy):5.3f}   {0:8.3f}")

# %%
shown = {"digits": test[:9], "noisy digits": noisy[:9]}
shown |= {name: models[name].reconstruct(noisy[:9]) for name in results}
figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.7), layout="constrained")
for ax, (name, images) in zip(axes.flat, shown.items(), strict=True):
    pb.plots.image_grid(images.clamp(0, 1), cols=3, ax=ax)
    ax.set_title(name)
plt.show()

# %% [markdown]
# - With all labels there is nothing to choose: 300 test digits hardly tell these accuracies apart. With 100 labels the
#   denoising code is ahead of the pixels by some three points, the others by one or two.
# - Noise separates them. A probe on pixels breaks down (it relies on pixels at the edge, which hardly vary, until there
#   is noise). The copiers lose much, the small code even more: *a small code forbids the copy, but it is not robust*.
#   The contractive and the denoising codes lose least.
# - The same in the reconstructions: the copiers hand most of the noise on, and so does the sparse model. The
#   contractive one removes more than half of it, without having seen any. The denoising one removes most; it was
#   trained for this noise.
# - All three pay: clean digits come out less exact than from the copiers. Only the shuffled ones show what was bought.
#
# This is one seed, one small data set, and one strength for each model, chosen to keep about as many directions. Take
# the table for what the remedies *do*, not for a ranking.
#
# **Exercise 7.** Train the denoising model with zeros in place of 30% of the pixels (`corruption="masking"`). Which
# noise does it remove now? *Hint: compare both models on both kinds of spoiled digits.*
#
# ## What stands in the four places
#
# | model | prior $p(z)$ | guide $q(z \mid x)$ | likelihood $p(x \mid z)$ | one more thing |
# |---|---|---|---|---|
# | autoencoder | flat | Delta | Normal or Bernoulli | a small code |
# | sparse | Laplace | Delta | as above | the decoder's columns bounded |
# | top-k, target rate | flat | Delta | as above | in the encoder; a penalty on the batch's means |
# | contractive | flat | Delta | as above | the penalty $\lambda \lVert J_f \rVert^2$, the decoder tied |
# | denoising | flat | $C(\tilde x \mid x)$, masked, then Delta of $f(\tilde x)$ | as above, of the clean $x$ | |
#
# None of them has a likelihood by which to choose $\lambda$ or $s$: their guides have no width, and but for the sparse
# one their priors are flat. The VAE of tutorial 2 forbids the identity as well, by a prior and a width at once, and has
# one.
#
# ## Solutions, in brief
#
# **1.** The guide, together with the prior. With $s \to 0$ the term $-\log q(z \mid x)$ falls without bound, like
# $L \log s$, while the likelihood of a fixed $\sigma$ has a ceiling. To tell examples apart in spite of a width, means
# would have to move apart, and the prior charges for that.
#
# **2.** $-(d^\top x - z)^2 / 2 \sigma^2 - \lambda z$ is largest at $z = \max(0,\ d^\top x - \sigma^2 \lambda)$.
#
# **3.** With $\lambda z^2$ it is $z = d^\top x / (1 + 2 \sigma^2 \lambda)$ (or 0, where that is negative). The
# penalty's slope vanishes at zero, so no small value is worth setting to zero.
#
# **4.** $\lVert J_f \rVert^2 = \lVert W \rVert^2 = \sum_i a_i$, and the minimum is at
# $a_i = \max(0,\ 1 - \sigma^2 \lambda / \Sigma_{ii})$: directions of a variance below $\sigma^2 \lambda$ vanish, the
# others are shortened. PCA with a soft threshold.
#
# **5.** The mixed term has mean zero, since $\mathbb{E}[x - r^* \mid \tilde x] = 0$. The score's mean squared error is
# $\epsilon / s^4$, which for small $s$ is large for the smallest $\epsilon$. The cell below checks the first, but for
# chance.
#
# **6.** $r^*(\tilde x) = \Sigma (\Sigma + s^2 I)^{-1} \tilde x$, and the score is $-(\Sigma + s^2 I)^{-1} \tilde x$. A
# direction comes through with the factor $\Sigma_{ii} / (\Sigma_{ii} + s^2)$: the Wiener filter, which shortens
# smoothly where exercise 4 cuts off. The penalty $s^2 \lVert J_r \rVert^2$ has exactly this optimum, for every $s$.
#
# **7.** Each model removes the noise that it was shown. The one trained on zeros even adds to Normal noise: its error,
# printed below, is above that of the noisy digits themselves.

# %%
for s, one in denoisers.items():
    seen = new_spiral + s * torch.randn(new_spiral.shape, generator=generator)
    best = seen + s**2 * exact_score(seen, s)
    excess = squared_error(new_spiral, one.denoise(seen)) - squared_error(new_spiral, best)
    distance = squared_error(best, one.denoise(seen))
    print(f"noise {s}: excess {excess:.5f}, squared distance from the best {distance:.5f}")

torch.manual_seed(0)
masking = pb.DenoisingAutoencoder(64, 128, 256, "masking", NOISE)
masking.fit(digits.train, **DIGITS)
holes = test * (torch.rand(test.shape, generator=generator) > 0.3)
print("squared error against the clean digits   Normal noise   zeros in 30%")
for name, one in {"trained on Normal noise": models["denoising"], "trained on zeros": masking}.items():
    errors = [squared_error(test, one.denoise(x)) for x in (noisy, holes)]
    print("{:38}   {:12.3f}   {:12.3f}".format(name, *errors))

# %% [markdown]
# ## References
#
# - B. Olshausen and D. Field (1996), *Emergence of simple-cell receptive field properties by learning a sparse code for
#   natural images*; A. Ng (2011), *Sparse autoencoder*, CS294A lecture notes; A. Makhzani and B. Frey (2014), *k-sparse
#   autoencoders*, [arXiv 1312.5663](https://arxiv.org/abs/1312.5663).
# - S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio (2011), *Contractive auto-encoders: explicit invariance
#   during feature extraction*; S. Rifai, Y. Dauphin, P. Vincent, Y. Bengio and X. Muller (2011), *The manifold tangent
#   classifier*.
# - P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol (2010), *Stacked denoising autoencoders: learning
#   useful representations in a deep network with a local denoising criterion*.
# - H. Robbins (1956), *An empirical Bayes approach to statistics*. Tweedie's formula. P. Vincent (2011), *A connection
#   between score matching and denoising autoencoders*.
# - G. Alain and Y. Bengio (2014), *What regularized auto-encoders learn from the data-generating distribution*, [arXiv
#   1211.4246](https://arxiv.org/abs/1211.4246).
# - Y. Bengio, L. Yao, G. Alain and P. Vincent (2013), *Generalized denoising auto-encoders as generative models*,
#   [arXiv 1305.6663](https://arxiv.org/abs/1305.6663). The chain, and walkback.
# - Y. Song and S. Ermon (2019), *Generative modeling by estimating gradients of the data distribution*, [arXiv
#   1907.05600](https://arxiv.org/abs/1907.05600). Many noise scales at once.
