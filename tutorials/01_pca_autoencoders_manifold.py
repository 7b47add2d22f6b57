# %% [markdown]
# # PCA, autoencoders and the manifold
#
# A digit of 8 × 8 pixels is a point in 64 dimensions, but hardly any point there is a digit. Data keeps close to a
# surface of far fewer dimensions: a *manifold*. This tutorial finds it, first as a plane, then as a curved surface.
#
# You will see
#
# 1. that principal component analysis (PCA) is the best *linear* autoencoder, and that a gradient finds it too;
# 2. that both are an evidence lower bound, with a certain prior and a certain guide;
# 3. what a nonlinear autoencoder adds, on data whose manifold you can see, and how it can tear;
# 4. the tangent space of the manifold, from Jacobians;
# 5. two-dimensional codes of digits, and the surface that the decoder draws;
# 6. why a code that is too large learns nothing, and how a sparse prior mends it.
#
# You need linear algebra (eigenvectors, singular values), the Normal distribution, and some PyTorch. A GPU is not
# needed.

# %%
import math
import os

import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.func import jacrev, vmap

import probae as pb

EFFORT = 0.03 if os.environ.get("PROBAE_TUTORIAL_SHORT") else 1.0  # the project's checks train little; you want 1.0
TRAIN = {"seed": 0, "schedule": "cosine", "progress": False}  # settings of all trainings below


def effort(number):
    return max(2, round(EFFORT * number))


plt.rcParams.update({"figure.dpi": 72, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=pb.plots.style.COLOURS)

digits = pb.data.load("digits", binarize="none")
train, test = digits.train.tensor, digits.test.tensor
print(digits.train)

# %% [markdown]
# ## 1. PCA is a linear autoencoder
#
# An *autoencoder* is a pair of functions: an encoder $f$ that turns an example $x \in \mathbb{R}^D$ into a code
# $z = f(x) \in \mathbb{R}^L$, and a decoder $g$ that turns the code into a reconstruction $\hat x = g(z)$. With $L < D$
# it has to choose what to keep. Let both be linear, $f(x) = W(x - m)$ and $g(z) = Vz + m$ with the mean $m$, and ask
# for
#
# $$\min_{W, V}\ \mathbb{E}\,\lVert x - m - V W (x - m) \rVert^2 .$$
#
# Let $\lambda_1 \ge \dots \ge \lambda_D$ be the eigenvalues of the covariance and $u_1, \dots, u_D$ its eigenvectors.
# Then the minimum is reached where $VW$ is the orthogonal projection onto the span of $u_1, \dots, u_L$, and it is
#
# $$\mathbb{E}\,\lVert x - \hat x \rVert^2 = \lambda_{L+1} + \dots + \lambda_D .$$
#
# That is PCA. It needs no training, only eigenvectors.


# %%
def squared_error(x, reconstruction):
    return (x - reconstruction).square().sum(1).mean().item()


mean = train.mean(0)
eigenvalues, directions = torch.linalg.eigh((train - mean).T @ (train - mean) / len(train))
eigenvalues, directions = eigenvalues.flip(0), directions.flip(1)  # the largest first


def pca(x, size):
    basis = directions[:, :size]
    return mean + (x - mean) @ basis @ basis.T


for size in (2, 8, 32):
    print(
        f"{size:2} components: squared error {squared_error(train, pca(train, size)):.4f} of the training set, "
        f"{eigenvalues[size:].sum():.4f} by the formula, {squared_error(test, pca(test, size)):.4f} of the test set"
    )

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
sizes = range(65)
axes[0].plot(sizes, [eigenvalues[size:].sum() for size in sizes], label="training set")
axes[0].plot(sizes, [squared_error(test, pca(test, size)) for size in sizes], "--", label="test set")
axes[0].set(xlabel="components L", ylabel="squared error per example", title="what PCA leaves")
axes[0].legend()
pb.plots.filters(directions[:, :16].T, cols=8, ax=axes[1])
axes[1].set_title("the first 16 principal directions")
plt.show()

# %% [markdown]
# The two curves lie almost on each other: a mean and a covariance in 64 dimensions are easy to estimate from 1,197
# digits, and a plane cannot overfit much. The first five directions hold more than half of the variance. They are
# coarse, the later ones finer.

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 2.4), layout="constrained")
for ax, size in zip(axes, (2, 8, 32), strict=True):
    pb.plots.reconstructions(test[:14], pca(test[:14], size).clamp(0, 1), cols=7, ax=ax)
    ax.set_title(f"{size} components")

# %% [markdown]
# Two components give blurs that only hint at the digit, eight are often readable, thirty-two are hard to tell from the
# original.
#
# **Exercise 1.** Derive the formula for the error. *Hint: for a fixed $V$ with orthonormal columns, which $W$ is best?
# Then write the error as the total variance minus a trace, and bound the trace.*

# %% [markdown]
# ## 2. ... and an evidence lower bound
#
# Everything in this library is a pair of Pyro programs: `model(x)` describes $p(x, z)$, the decoder; `guide(x)`
# describes $q(z \mid x)$, the encoder. Training maximizes, for each example,
#
# $$\mathrm{ELBO}(x) = \mathbb{E}_{q(z \mid x)}\big[\log p(x, z) - \log q(z \mid x)\big] .$$
#
# Which pair gives an autoencoder? Its code is a function of $x$: the guide is a point mass, $q = \mathrm{Delta}(f(x))$,
# whose log-density at its own point counts as zero. It prefers no code over another: the prior is flat, $\log p(z) = 0$
# everywhere. (It is *improper*: it has no integral.) With $p(x \mid z) = \mathrm{Normal}(g(z), \sigma^2 I)$
#
# $$\mathrm{ELBO}(x) = \log p(x \mid f(x)) = -\frac{\lVert x - g(f(x)) \rVert^2}{2 \sigma^2}
# {} - \frac{D}{2} \log 2 \pi \sigma^2 .$$
#
# Maximizing it means minimizing the squared error, and with $\sigma^2 = 1/2$ the loss *is* the squared error, plus the
# constant $\frac{D}{2} \log \pi$. Here it is, written out.

# %%
torch.manual_seed(0)
pyro.clear_param_store()  # Pyro keeps parameters by name: run this cell twice, and the old ones would come back
size = 4
encoder, decoder = nn.Linear(64, size), nn.Linear(size, 64)
flat = dist.ImproperUniform(dist.constraints.real_vector, (), (size,))


def model(x):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", flat)
        pyro.sample("x", dist.Normal(decoder(z), math.sqrt(0.5)).to_event(1), obs=x)


def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(encoder(x), event_dim=1))


# %% [markdown]
# A gradient knows nothing about eigenvectors. Does it find the same plane? Two planes of dimension $L$ with orthonormal
# bases $A$ and $B$ differ by $L$ *principal angles*, the arc cosines of the singular values of $A^\top B$. A callback
# looks at the error and at the angles after each epoch.


# %%
class Compare(pb.Callback):
    def __init__(self):
        self.excess, self.angles = [], []

    @torch.no_grad()
    def on_epoch_end(self, training):
        basis = torch.linalg.qr(decoder.weight).Q
        cosines = torch.linalg.svdvals(basis.T @ directions[:, :size]).clamp(max=1)
        self.angles.append(torch.rad2deg(cosines.acos()))
        self.excess.append(squared_error(train, decoder(encoder(train))) - eigenvalues[size:].sum().item())


compare = Compare()
run = pb.fit(model, guide, train, epochs=effort(600), learning_rate=0.01, callbacks=compare, **TRAIN)
print(f"loss - 32 log(pi) = {run.history['train_loss'][-1] - 32 * math.log(math.pi):.4f}")
print(f"PCA's error       = {eigenvalues[size:].sum():.4f}")
print("principal angles in degrees:", [round(angle, 1) for angle in compare.angles[-1].tolist()])
early = len(compare.excess) // 6
print(f"after epoch {early}: error {compare.excess[early - 1]:.3f} above PCA's, ", end="")
print(f"largest angle {compare.angles[early - 1].max():.0f} degrees")

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
axes[0].semilogy(compare.excess)
axes[0].set(xlabel="epoch", ylabel="squared error above PCA's")
axes[1].semilogy(torch.stack(compare.angles).clamp(min=0.01), label=[f"angle {i + 1}" for i in range(size)])
axes[1].set(xlabel="epoch", ylabel="principal angle to PCA's plane, degrees")
axes[1].legend()
plt.show()

# %% [markdown]
# The linear autoencoder reaches PCA's error and PCA's plane: no local minimum stops it, since all other critical points
# are saddles (Baldi and Hornik 1989). But the last angle takes its time, when the error is almost the best already:
# turning the plane by an angle $\theta$ from $u_4$ towards $u_5$ costs only $(\lambda_4 - \lambda_5) \sin^2 \theta$. *A
# loss near its optimum does not say that the solution is near.*

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 2.2), layout="constrained")
pb.plots.filters(directions[:, :size].T, cols=size, ax=axes[0])
pb.plots.filters(decoder.weight.detach().T, cols=size, ax=axes[1])
axes[0].set_title("principal directions")
axes[1].set_title("columns of the trained decoder")
plt.show()

# %% [markdown]
# The plane is the same, the bases are not: the columns of the decoder are mixtures of the principal directions. For any
# invertible $A$, the pair $(AW, VA^{-1})$ has the same error as $(W, V)$; the objective cannot choose among them.
# *Codes of an autoencoder mean something together, not one by one.*
#
# You need not write the pair each time. `pb.Autoencoder(64, latent_dim=4, hidden=())` is this one.
#
# **Exercise 2.** Add $\alpha (\lVert W \rVert^2 + \lVert V \rVert^2)$ to the loss (`objective=pb.ELBO(penalties=...)`
# takes a function of the batch and the guide's trace, which may return a scalar). Are the decoder's columns closer to
# the principal directions? *Hint: after a singular value decomposition of $V$, yes; see Kunin et al. (2019).*

# %% [markdown]
# ## 3. When the manifold is curved
#
# Here is a manifold that you can see: a noisy arc in the plane. Its inner dimension is one. PCA can only answer with a
# straight line. Give $f$ and $g$ hidden layers, and the image of the decoder, $\{g(z) : z \in \mathbb{R}\}$, becomes a
# curve.

# %%
noise = 0.12
generator = torch.Generator().manual_seed(0)
angle = math.pi * (1.5 * torch.rand(600, generator=generator) - 0.25)
arc = 2 * torch.stack([angle.cos(), angle.sin()], 1) + noise * torch.randn(600, 2, generator=generator)

CURVE = {"latent_dim": 1, "hidden": (64, 64), "activation": "tanh", "likelihood": {"name": "normal", "scale": 0.2}}
torch.manual_seed(0)
curved = pb.Autoencoder(2, **CURVE)
run = curved.fit(arc, epochs=effort(500), batch_size=100, learning_rate=5e-3, **TRAIN)

arc_mean = arc.mean(0)
axis = torch.linalg.svd(arc - arc_mean, full_matrices=False).Vh[0]
straight = arc_mean + ((arc - arc_mean) @ axis)[:, None] * axis
print(f"squared error: line {squared_error(arc, straight):.4f}, ", end="")
print(f"curve {squared_error(arc, curved.reconstruct(arc)):.4f}, variance of the noise {noise**2:.4f}")


# %%
def decoded_line(autoencoder, x, points=400):
    """The image of the latent line, as far as there are codes."""
    codes = autoencoder.embed(x)
    return autoencoder.decode(torch.linspace(codes.min(), codes.max(), points)[:, None]).mean


def show_curve(ax, x, reconstruction, curve, title):
    ax.plot(*torch.stack([x, reconstruction]).unbind(-1), color="0.8", linewidth=0.7)  # each x to its own
    ax.scatter(*x.T, s=5)
    ax.plot(*curve.T, color="C2", linewidth=2.5)
    ax.set(title=title, aspect="equal")


figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
ends = arc_mean + torch.tensor([[-2.5], [2.5]]) * axis
show_curve(axes[0], arc, straight, ends, "PCA: the best line")
show_curve(axes[1], arc, curved.reconstruct(arc), decoded_line(curved, arc), "autoencoder: the decoded latent line")

# %% [markdown]
# The line cuts through the arc and projects its two arms onto each other. The curve goes through the middle of the
# data, and each point is sent to a near point on it. The error that remains is about $0.12^2$: the variance of the
# noise *across* the curve, in one dimension. (Noise *along* the curve cannot be told from position.) A curve that
# passes through the mean of the points projected onto it is a *principal curve* (Hastie and Stuetzle 1989); this is
# close to one.
#
# It does not always go so well. Next, a spiral, and the same network.


# %%
def spiral_points(count):
    place = math.pi * (0.5 + torch.rand(count, generator=generator))  # position along the spiral
    points = 0.6 * place[:, None] * torch.stack([(2 * place).cos(), (2 * place).sin()], 1)
    return place, points + 0.1 * torch.randn(count, 2, generator=generator)


place, spiral = spiral_points(600)
torch.manual_seed(0)
torn = pb.Autoencoder(2, **CURVE)
run = torn.fit(spiral, epochs=effort(500), batch_size=100, learning_rate=5e-3, **TRAIN)
print(f"squared error {squared_error(spiral, torn.reconstruct(spiral)):.4f}, variance of the noise {0.1**2:.4f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
show_curve(axes[0], spiral, torn.reconstruct(spiral), decoded_line(torn, spiral), "the decoded line takes a short cut")
axes[1].scatter(place, torn.embed(spiral)[:, 0], s=5)
axes[1].set(xlabel="true position along the spiral", ylabel="code z", title="the code is torn")
plt.show()

# %% [markdown]
# By its error this autoencoder is perfect: it is down at the noise. But look at the codes. The network has cut the
# spiral in two and joined the wrong ends: neighbours on either side of the cut are far apart in $z$, and where the two
# pieces meet, the decoder crosses empty space. *The training error does not see it*, since hardly any training point
# has its code there. New points do see it:

# %%
new = spiral_points(5000)[1]
errors = (new - torn.reconstruct(new)).square().sum(1)
print(f"5000 new points: mean squared error {errors.mean():.4f}, median {errors.median():.4f}, ", end="")
print(f"largest {errors.max():.1f}; above 0.2 for {(errors > 0.2).double().mean():.1%} of them")

# %% [markdown]
# Most are as well off as the training points. But a point that lies at the cut may get any code between those of its
# neighbours on either side, and the decoder sends it across the plane. A flat prior has no opinion about where codes
# should lie. Keep this picture in mind: tutorial 2 comes back to it, with codes that have a prior and a width.
#
# **Exercise 3.** Train `torn` from ten seeds (of `torch.manual_seed`). How often is the code in order? Does the
# training error tell? Then give the network a hint, `place` as a third coordinate of the data. *Hint: sort the codes by
# `place`; in order, their differences have one sign, but for the noise.*
#
# **Exercise 4.** Put the data on a full circle. Can a code in $\mathbb{R}$ be continuous there? *Hint: a continuous
# function from a circle to the line takes some value twice.*

# %% [markdown]
# ## 4. The tangent space
#
# Near a code $z$ the manifold is its tangent plane, spanned by the columns of the decoder's Jacobian
#
# $$J_g(z) = \frac{\partial g}{\partial z} \in \mathbb{R}^{D \times L} .$$
#
# Its singular vectors are the directions in which $x$ moves when the code moves, its singular values how fast.
# `torch.func` computes it for a whole batch: `jacrev` differentiates, `vmap` maps over the codes.

# %%
codes = torch.linspace(*curved.embed(arc).aminmax(), 15)[1:-1, None]
tangents = vmap(jacrev(curved.decoder))(codes).detach()[..., 0]  # (13, 2): one column each
points = curved.decode(codes).mean
speed = tangents.norm(dim=1, keepdim=True)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
axes[0].scatter(*arc.T, s=5, color="0.8")
axes[0].plot(*decoded_line(curved, arc).T, color="C2")
axes[0].quiver(*points.T, *(tangents / speed).T, angles="xy", scale_units="xy", scale=1.5, width=0.006)
axes[0].set(aspect="equal", title="unit tangents at equal steps of z")
axes[1].plot(codes, speed, "o-")
axes[1].set(xlabel="code z", ylabel="|dg/dz|", ylim=(0, None), title="speed of the decoder")
plt.show()

# %% [markdown]
# The arrows touch the curve, as tangents do. They stand at equal steps of $z$ and yet not at equal distances: the
# decoder's speed varies. Distances between codes are not distances between examples; $J_g^\top J_g$ is the metric that
# translates (Arvanitidis et al. 2018).
#
# Of the whole autoencoder $r(x) = g(f(x))$, the Jacobian at $x$ is $J_r = J_g J_f$, of rank at most $L$. If
# reconstructions reconstruct to themselves, $r(r(x)) = r(x)$, then at such points $J_r^2 = J_r$: it is a projection
# onto the tangent space, along the directions that $f$ does not see. PCA's is orthogonal and everywhere the same: $L$
# singular values are 1, and the others 0. Section 6 uses this to ask how many directions a model keeps.

# %% [markdown]
# ## 5. Digits
#
# First the errors: PCA against an autoencoder with two hidden layers on either side, for codes of several sizes.
# `valid=` keeps the epoch that reconstructs the validation set best.

# %%
NOISE = {"name": "normal", "scale": 0.2}  # of a pixel
autoencoders = {}
for size in (2, 4, 8, 16, 32):
    torch.manual_seed(0)
    autoencoders[size] = pb.Autoencoder(64, latent_dim=size, hidden=(128, 64), likelihood=NOISE)
    autoencoders[size].fit(
        digits.train, valid=digits.valid, epochs=effort(200), batch_size=64, learning_rate=2e-3, **TRAIN
    )

print("code  PCA train  test   autoencoder train  test")
errors = {}
for size, one in autoencoders.items():
    flat_ones = [squared_error(x, pca(x, size)) for x in (train, test)]
    errors[size] = flat_ones + [squared_error(x, one.reconstruct(x)) for x in (train, test)]
    print("{:4}  {:9.3f}  {:5.3f}  {:17.3f}  {:5.3f}".format(size, *errors[size]))

# %%
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
styles = ("C0--", "C0-", "C2--", "C2-")
names = ("PCA, training set", "PCA, test set", "autoencoder, training set", "autoencoder, test set")
for style, name, column in zip(styles, names, zip(*errors.values(), strict=True), strict=True):
    ax.loglog(list(errors), column, style, marker="o", markersize=4, label=name)
ax.set(xlabel="size of the code", ylabel="squared error per example")
ax.set_xticks(list(errors), list(errors))
ax.set_yticks([0.2, 0.5, 1, 2], ["0.2", "0.5", "1", "2"])
ax.minorticks_off()
ax.legend(fontsize="small")
plt.show()

# %% [markdown]
# With a small code the curved surface is far better than the plane: with two numbers it reconstructs test digits about
# as well as PCA with six. But its advantage shrinks as the code grows. Its two curves lie apart: that is overfitting,
# which PCA hardly knows. And with 32 numbers it is worse than PCA on the training set too, although it could imitate
# PCA: so many steps of a gradient have not found what eigenvectors give at once. *The manifold of digits is curved, but
# 1,197 examples show only so much of it, and a better optimum is of no use unless it is found.*
#
# Two dimensions can be drawn.

# %%
two = autoencoders[2]
plane = (digits.train.tensor - mean) @ directions[:, :2], (test - mean) @ directions[:, :2]
surface = two.embed(digits.train), two.embed(digits.test)
figure, axes = plt.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
for ax, (known, new), name in zip(axes, (plane, surface), ("PCA", "autoencoder"), strict=True):
    neighbours = KNeighborsClassifier(5).fit(known, digits.train.labels)
    share = neighbours.score(new, digits.test.labels)
    pb.plots.latent_scatter(new, digits.test.labels, ax=ax)
    ax.set_title(f"{name}: nearest neighbours name {share:.0%} of the test digits")

# %% [markdown]
# No label was used in training, yet classes come apart, in the autoencoder's code more than in PCA's: there the five
# nearest training codes name most test digits correctly. But the codes have no unit and no shape of their own: some
# classes spread far out, others crowd in the middle, and between them are gaps.
#
# Now the surface itself. The decoder turns each point of the plane into an image; here at quantiles of the codes, so
# that the images are spread as the codes are. (These digits fill their pixels to the edge, so each gets a black frame.)


# %%
def framed(z):
    images = two.decode(z).mean.reshape(-1, 1, 8, 8)
    return F.pad(images, (1, 1, 1, 1))


figure, ax = plt.subplots(figsize=(7, 7), layout="constrained")
pb.plots.manifold(framed, codes=surface[0], steps=14, ax=ax)
plt.show()

# %% [markdown]
# Walk through the picture: where the scatter plot has a class, the image is that digit, and on the way to the next
# class one digit turns into the other. In the gaps, where there are no codes, are smudges that are no digit: nothing
# has told the decoder what to draw there.
#
# The tangent space of the surface says which *small changes* of a digit the model knows. For three test digits, the
# decoder of the autoencoder with eight numbers, and the four directions in which the image changes fastest:

# %%
eight = autoencoders[8]
chosen = torch.tensor([int((digits.test.labels == label).nonzero()[0]) for label in (0, 3, 7)])
jacobians = vmap(jacrev(eight.decoder))(eight.embed(test[chosen])).detach()  # (3, 64, 8)
tangents = torch.linalg.svd(jacobians, full_matrices=False).U[:, :, :4]
figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.8), layout="constrained", width_ratios=(1, 4))
pb.plots.image_grid(eight.reconstruct(test[chosen]).clamp(0, 1), cols=1, ax=axes[0])
pb.plots.filters(tangents.mT.reshape(12, 64), cols=4, ax=axes[1])
axes[0].set_title("g(z)")
axes[1].set_title("the four fastest tangent directions at z")
plt.show()

# %% [markdown]
# Where red stands beside blue, ink moves from one side of a stroke to the other; where one colour stands alone, a
# stroke becomes stronger or weaker. The directions belong to the digit at which they are taken; PCA would give the same
# four pictures everywhere.
#
# **Exercise 5.** Interpolate between the codes of two test digits, once on a straight line in the code and once in
# pixels. Which path stays closer to digits? *Hint: measure the distance of each image on the path to its nearest
# training digit. Then try `latent_dim=2` and cross an empty region.*

# %% [markdown]
# ## 6. Too large a code, and a prior that mends it
#
# So far the code was small, and that alone forced a choice. What if it is larger than the example (*overcomplete*)?
# Often one wants that: many features, few of them used at a time. A flat prior then no longer asks for anything: the
# identity has error zero, and it says nothing about digits.
#
# A test for that is data that has nothing to do with digits. Take the test digits and shuffle each pixel among the
# images: each pixel keeps its distribution, but nothing holds them together. A model of *digits* should not be able to
# reconstruct these.

# %%
shuffled = torch.stack([column[torch.randperm(len(test), generator=generator)] for column in test.unbind(1)], 1)

torch.manual_seed(0)
linear = pb.Autoencoder(64, latent_dim=128, hidden=(), likelihood=NOISE)
deep = pb.Autoencoder(64, latent_dim=128, hidden=(256,), likelihood=NOISE)
sparse = pb.SparseAutoencoder(64, latent_dim=128, strength=4.0, likelihood=NOISE)
for one in (linear, deep, sparse):
    one.fit(digits.train, valid=digits.valid, epochs=effort(200), batch_size=64, learning_rate=2e-3, **TRAIN)

models = {"8, deep": eight, "128, linear": linear, "128, deep": deep, "128, sparse": sparse}
for name, one in models.items():
    on_digits, on_junk = (squared_error(x, one.reconstruct(x)) for x in (test, shuffled))
    used = (one.embed(test).abs() > 1e-6).double().sum(1).mean()
    print(f"{name:12} squared error: digits {on_digits:6.3f}, shuffled {on_junk:6.3f}; {used:5.1f} code units used")

# %%
figure, axes = plt.subplots(1, 5, figsize=(12, 3.6), layout="constrained")
for ax, name in zip(axes, ["shuffled pixels", *models], strict=True):
    x = shuffled[:9] if name == "shuffled pixels" else models[name].reconstruct(shuffled[:9]).clamp(0, 1)
    pb.plots.image_grid(x, cols=3, ax=ax)
    ax.set_title(name)

# %% [markdown]
# The two overcomplete autoencoders without a prior return the noise unchanged: they have learned to copy, and their low
# error on digits was no sign of learning. The model with eight numbers turns the noise into something smoother, here
# and there like a digit: it has nothing else to draw with. The sparse one finds no use for the noise either and leaves
# most of it out, although its code is as large as that of the copiers.
#
# What makes the last model different is its prior: $p(z) = \mathrm{Laplace}(0, 1/\lambda)$ in each dimension, so that
#
# $$\mathrm{ELBO}(x) = \log p(x \mid f(x)) - \lambda \lVert f(x) \rVert_1 + \text{const} .$$
#
# The L1 penalty comes out of the bound by itself; training is maximum a posteriori. Each unit of the code costs
# $\lambda$ nats per unit of activity, and the encoder (with a ReLU) leaves most units at exactly zero. (One thing has
# to be added: the decoder's columns are kept to length one. Otherwise codes would shrink and the decoder grow, and the
# penalty would be escaped.)
#
# How many directions does each model keep? Count the singular values of $J_r$ that are not small, averaged over test
# digits.


# %%
def spectrum(reconstruct):
    jacobians = vmap(jacrev(reconstruct))(test[:100]).detach()
    return torch.linalg.svdvals(jacobians).mean(0)


figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.plot(range(1, 65), spectrum(lambda x: pca(x[None], 8)[0]), label="PCA, 8")
for name, one in models.items():
    squash = torch.relu if one is sparse else nn.Identity()
    ax.plot(range(1, 65), spectrum(lambda x, one=one, squash=squash: one.decoder(squash(one.encoder(x)))), label=name)
ax.set(xlabel="number", ylabel="singular value of the reconstruction", ylim=(0, 5))
ax.legend()
plt.show()

# %% [markdown]
# PCA keeps eight directions and no more, all alike. So does the autoencoder with eight numbers, but it stretches them:
# a singular value above one means that a small change of the digit makes a larger change of the reconstruction. The
# linear copier has the value one almost everywhere, as the identity does, save for directions in which the training set
# hardly varies (some pixels are never inked). The deep copier is near it. The sparse model keeps about a dozen
# directions: those of the units that are active for this digit. *It is undercomplete at each example, with another
# small code for each.*

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
pb.plots.filters(linear.decoder[0].weight.detach().T[:64], cols=8, ax=axes[0])
most_used = (sparse.embed(digits.train) > 0).double().mean(0).argsort(descending=True)
pb.plots.filters(sparse.dictionary[most_used[:64]], cols=8, ax=axes[1])
axes[0].set_title("linear copier: 64 decoder columns")
axes[1].set_title("sparse: the 64 most used of its dictionary")
plt.show()

# %% [markdown]
# The copier's features are noise: any basis will do to copy. The sparse dictionary is made of strokes and parts of
# digits: pieces that few at a time can be put together to a digit. The strength $\lambda$ trades error against
# sparsity:

# %%
print("strength  units used  digits  shuffled")
for strength in (0.01, 1.0, 4.0, 16.0):
    torch.manual_seed(0)
    one = pb.SparseAutoencoder(64, latent_dim=128, strength=strength, likelihood=NOISE)
    one.fit(digits.train, valid=digits.valid, epochs=effort(100), batch_size=64, learning_rate=2e-3, **TRAIN)
    used = (one.embed(test) > 0).double().sum(1).mean()
    on_digits, on_junk = (squared_error(x, one.reconstruct(x)) for x in (test, shuffled))
    print(f"{strength:8}  {used:10.1f}  {on_digits:6.3f}  {on_junk:8.3f}")

# %% [markdown]
# With hardly any strength the same network is a copier again: it is the prior that makes the difference. The stronger
# the prior, the fewer units, and the larger the error. There is no best row: the objective with *its* $\lambda$ prefers
# its own. To choose between them one would need a number that judges models, not codes. These models do not have one:

# %%
try:
    sparse.log_likelihood(test)
except pb.errors.NoLikelihoodError as error:
    print(f"NoLikelihoodError: {error}")

# %% [markdown]
# **Exercise 6.** Which is the better denoiser of test digits with Normal noise of scale 0.25: the autoencoder with
# eight numbers, or the sparse one, and at which strength? *Hint: `one.reconstruct(noisy)` against the clean digits.
# Explain the result by the singular values above.*
#
# **Exercise 7.** Show that without the bound on the decoder's columns the L1 penalty can be made as small as one likes
# at the same error. *Hint: scale $f$ by $\epsilon$ and $g$'s first layer by $1/\epsilon$.*

# %% [markdown]
# ## What stands in the four places
#
# | model | prior $p(z)$ | guide $q(z \mid x)$ | likelihood $p(x \mid z)$ |
# |---|---|---|---|
# | PCA, linear autoencoder | flat | Delta, linear | Normal, linear |
# | autoencoder | flat | Delta | Normal or Bernoulli |
# | sparse autoencoder | Laplace | Delta | Normal or Bernoulli |
# | *variational autoencoder* | *Normal* | *Normal* | *Normal or Bernoulli* |
#
# One objective trained them all. The first three have a guide without width, and three troubles with it: codes may be
# torn, much of the latent space is nobody's, and there is no likelihood by which to tell one model from a better one.
# In the last row every place has a density. What that mends, and what it does not, is tutorial 2.
#
# ## References
#
# - K. Pearson (1901), *On lines and planes of closest fit*; H. Hotelling (1933), *Analysis of a complex of statistical
#   variables into principal components*.
# - H. Bourlard and Y. Kamp (1988), *Auto-association by multilayer perceptrons and singular value decomposition*; P.
#   Baldi and K. Hornik (1989), *Neural networks and principal component analysis: learning from examples without local
#   minima*. Linear autoencoders.
# - D. Kunin et al. (2019), *Loss landscapes of regularized linear autoencoders*, [arXiv
#   1901.08168](https://arxiv.org/abs/1901.08168).
# - T. Hastie and W. Stuetzle (1989), *Principal curves*; M. Kramer (1991), *Nonlinear principal component analysis
#   using autoassociative neural networks*.
# - G. Hinton and R. Salakhutdinov (2006), *Reducing the dimensionality of data with neural networks*.
# - B. Olshausen and D. Field (1996), *Emergence of simple-cell receptive field properties by learning a sparse code for
#   natural images*; A. Ng (2011), *Sparse autoencoder*, CS294A lecture notes.
# - G. Alain and Y. Bengio (2014), *What regularized auto-encoders learn from the data-generating distribution*, [arXiv
#   1211.4246](https://arxiv.org/abs/1211.4246). Jacobians of reconstructions.
# - G. Arvanitidis, L. Hansen and S. Hauberg (2018), *Latent space oddity*, [arXiv
#   1710.11379](https://arxiv.org/abs/1710.11379).
