# %% [markdown]
# # Energy, free energy and the price of Z
#
# Every model so far was a recipe: draw a code, then an example from it. A Boltzmann machine is no recipe. It scores
# examples by an *energy*, and leaves open by what the scores have to be divided to become probabilities. That number,
# the partition function $Z$, is a sum over all examples there could be, and everything hard about these models comes
# from it: training, sampling, and telling how good they are.
#
# You will see
#
# 1. an energy small enough to enumerate, in which nothing is hidden;
# 2. where the gradient comes from, and how the evidence lower bound of tutorial 2 trains a model without knowing $Z$;
# 3. three ways to pay less for that gradient, what each of them gets wrong, and what mends it;
# 4. units that are no bits;
# 5. how $Z$ is estimated, how the estimate fools you, how it is found out, and when it is not;
# 6. a machine for digits, from training to a likelihood one may print.
#
# You need tutorials 1 and 2, and some PyTorch. A GPU is not needed.

# %%
import copy
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import pyro
import torch

import probae as pb
from probae.evaluation.baselines import bernoulli_baseline

EFFORT = 0.03 if os.environ.get("PROBAE_TUTORIAL_SHORT") else 1.0  # the project's checks train little; you want 1.0
TRAIN = {
    "seed": 0,
    "progress": False,
    "compile": "trace" if EFFORT == 1 else "eager",
}  # settings of all trainings below


def effort(number):
    return max(2, round(EFFORT * number))


plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=pb.plots.style.COLOURS)

# %% [markdown]
# ## 1. An energy on bits
#
# A *restricted Boltzmann machine* (RBM) has $D$ visible bits $v$, the example, and $H$ hidden bits $h$. Its energy is
#
# $$E(v, h) = -v^\top W h - a^\top v - b^\top h, \qquad p(v, h) = \frac{e^{-E(v, h)}}{Z}, \qquad
# Z = \sum_{v, h} e^{-E(v, h)} .$$
#
# Low energy means high probability. There are $2^{D + H}$ terms in $Z$. Half of that is easy: with $m = b + W^\top v$,
# the energy is linear in each $h_j$, so the sum over all hidden states is a product of $H$ sums of two terms,
#
# $$\sum_h e^{-E(v, h)} = e^{a^\top v} \prod_{j=1}^{H} \sum_{h_j \in \{0, 1\}} e^{h_j m_j}
# = e^{a^\top v} \prod_{j=1}^{H} (1 + e^{m_j}) = e^{-F(v)} .$$
#
# Its negative logarithm is the *free energy*: with $\mathrm{softplus}(m) = \log(1 + e^m)$,
#
# $$F(v) = -a^\top v - \sum_j \mathrm{softplus}\big(b_j + (W^\top v)_j\big), \qquad p(v) = \frac{e^{-F(v)}}{Z}, \qquad
# Z = \sum_v e^{-F(v)} .$$
#
# Nothing was approximated: hidden units are summed out exactly, and independently given $v$ they are on with
# probability $\sigma(m_j)$. (The same holds the other way round, so one may just as well enumerate $h$ and sum out $v$:
# $Z$ costs $2^{\min(D, H)}$.) What remains is a sum over examples.
#
# The data here are *bars and stripes*: images of 3 × 3 pixels in which all rows are the same, or all columns. There are
# 14, each one once. The best any model can do is $\log p = -\log 14$ for each. First a machine with random weights.

# %%
patterns = pb.data.load("bars_and_stripes", size=3).train
x = patterns.tensor.double()


def states(count):
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * count)


torch.manual_seed(0)
rbm = pb.RBM(9, 6, negative_phase=pb.Exact()).double()
with torch.no_grad():
    for parameter in rbm.parameters():
        parameter.normal_()
    W, a, b = rbm.weight, rbm.visible_bias, rbm.hidden_bias
    v, h = states(9), states(6)
    energy = -(v @ W @ h.T) - (v @ a)[:, None] - h @ b
    free_energy = -(v @ a) - torch.nn.functional.softplus(b + v @ W).sum(1)
    print(f"{len(v)} visible states, {len(h)} hidden ones, {energy.numel()} of both")
    print(f"log Z over all of both         {(-energy).flatten().logsumexp(0):.10f}")
    print(f"log Z from the free energies   {(-free_energy).logsumexp(0):.10f}")
    print(f'rbm.log_partition("exact")     {rbm.log_partition("exact").value:.10f}')
    print(f"largest difference of F: {(rbm.free_energy(v) - free_energy).abs().max():.0e}")

# %% [markdown]
# All three agree. Now train it on the 14 patterns with its exact gradient, and ask for the probabilities.

# %%
torch.manual_seed(0)
rbm = pb.RBM(9, 6, negative_phase=pb.Exact()).double()
start = copy.deepcopy(rbm)
rbm.fit(x.repeat(20, 1), epochs=effort(300), batch_size=28, learning_rate=0.2, schedule="linear", **TRAIN)


def log_prob(machine, v):
    with torch.no_grad():
        return -machine.free_energy(v).double() - machine.log_partition("exact").value


apart = torch.cdist(v, x, p=1).min(1).values  # bits to the nearest pattern
for name, machine in {"before": start, "after": rbm}.items():
    log_p = log_prob(machine, v)
    print(f"{name:6}  all 512 states {log_p.exp().sum():.6f}, ", end="")
    print(f"the 14 patterns {log_p[apart == 0].exp().sum():.3f}, one bit away {log_p[apart == 1].exp().sum():.3f}")
    print(f"        mean log p of a pattern {log_p[apart == 0].mean():.3f} (at best {-math.log(14):.3f})")

order = log_p.argsort(descending=True)[:20]
figure, axes = plt.subplots(2, 10, figsize=(11, 2.9), layout="constrained")
for ax, index in zip(axes.flat, order, strict=True):
    pb.plots.image_grid(v[index][None], ax=ax)
    ax.spines[:].set(visible=True, color="0.7")
    colour = "C0" if apart[index] == 0 else "C2"
    ax.set_title(f"{log_p[index].exp():.2%}", fontsize="small", color=colour)
figure.suptitle("the twenty most probable images; blue: patterns, red: others", fontsize="medium")
plt.show()

# %% [markdown]
# With six hidden units the machine puts most of its probability on the patterns, and they come first; most of the rest
# is on images that differ from one in a single pixel.
#
# **Exercise 1.** Sum out the *visible* units instead, and get $Z$ from the $2^6$ hidden states. *Hint: exchange the
# roles of $a$ and $b$, and of $W$ and $W^\top$.*

# %% [markdown]
# ## 2. The gradient, and a likelihood without Z
#
# For any parameter $\theta$, $\log p(v) = -F(v) - \log Z$, and
#
# $$\nabla \log Z = \frac{1}{Z} \sum_{v'} \nabla e^{-F(v')} = \sum_{v'} p(v')\, \nabla (-F(v')), \qquad\text{so}\qquad
# \nabla\, \mathbb{E}_\text{data}[\log p(v)] = \underbrace{\mathbb{E}_\text{data}[\nabla(-F)]}_{\text{positive phase}}
# - \underbrace{\mathbb{E}_{p}[\nabla(-F)]}_{\text{negative phase}} .$$
#
# Raise what the data have, lower what the model has; where both are the same there is nothing left to learn. For the
# weights, $-\partial F / \partial W_{ij} = v_i\, \sigma(m_j)$.
#
# The negative phase needs *samples* of the model, not $Z$. So write down a number with the right gradient. Let $s$ be
# the mean of $-F$ over samples that are held fixed, the *particles*:
#
# $$\log p(v) \;\to\; -F(v) - \big(\widehat{\log Z} + s - \mathrm{detach}(s)\big) .$$
#
# The two $s$ cancel in value and leave the gradient of $\log Z$. This is what the log-density of an RBM in the library
# returns while it trains (with zero for the unknown estimate $\widehat{\log Z}$). Everything else is as in tutorial 2:
# `rbm.model` is a Pyro program with one observed site, `rbm.guide` is empty since the hidden units are summed out, and
# the evidence lower bound of that pair is $\log p(v)$ itself.
#
# Four ways to the same gradient, at random weights: by the formula with everything enumerated, by
# automatic differentiation of the exact likelihood, by `pb.ELBO` with the exact negative phase, and by the line above
# with 100,000 particles drawn from the exact $p(v)$.

# %%
machine = copy.deepcopy(start)
with torch.no_grad():
    machine.weight.normal_()
p = log_prob(machine, v).exp()
with torch.no_grad():
    on, on_data = (machine.hidden_bias + v @ machine.weight).sigmoid(), machine.embed(x)
    formula = x.T @ on_data / len(x) - v.T @ (p[:, None] * on)


def gradient(value):
    return torch.autograd.grad(value, machine.weight)[0]


def with_particles(particles):
    s = -machine.free_energy(particles).mean()
    return (-machine.free_energy(x) - (s - s.detach())).mean()


exact = gradient((-machine.free_energy(x)).mean() - (-machine.free_energy(v)).logsumexp(0))
machine.train()
elbo = gradient(-pb.ELBO()(machine.model, machine.guide, x) / len(x))
machine.eval()
torch.manual_seed(0)
drawn = v[p.multinomial(effort(100_000), replacement=True)]
sampled = gradient(with_particles(drawn))
print(f"size of the gradient for W: {formula.norm():.4f}; differences from the formula:")
for name, one in {"exact likelihood": exact, "pb.ELBO, Exact()": elbo, "particles": sampled}.items():
    print(f"   {name:16}  {(one - formula).norm():.1e}")
print(f"value with particles {with_particles(drawn):.3f}, mean log p(v) {log_prob(machine, x).mean():.3f}")

# %% [markdown]
# The first three are the same to rounding, the fourth up to the noise of its particles. But look at the last line: its
# *value* is not the log-likelihood; it is too large by $\log Z$, of which it knows nothing. We come back to that.
#
# Any optimizer that takes an ELBO trains an RBM, Pyro's own too. The particles here are 100 chains that go on from step
# to step; the next section says why.

# %%
pyro.clear_param_store()
torch.manual_seed(0)
by_pyro = pb.RBM(9, 6, negative_phase=pb.PCD(num_chains=100)).prepare(patterns)
svi = pyro.infer.SVI(by_pyro.model, by_pyro.guide, pyro.optim.Adam({"lr": 0.01}), pyro.infer.Trace_ELBO())
for _ in range(effort(1500)):
    svi.step(patterns.tensor)
print(by_pyro.eval().log_likelihood(patterns))

# %% [markdown]
# ## 3. Where do the particles come from?
#
# Exact samples cost as much as $Z$. What is cheap is one step of *Gibbs sampling*: draw all hidden bits given the
# visible ones, then all visible given the hidden. It leaves $p$ as it is, and repeated often enough it forgets where it
# began. The ways to train an RBM differ in where chains begin, and how long they run:
#
# - **Contrastive divergence** (`pb.CD(steps=1)`, Hinton 2002): at the batch, for a step or a few. Low noise, but no
#   samples of the model: the chains never get far from the data.
# - **Persistent** contrastive divergence (`pb.PCD()`, Tieleman 2008): where the last training step left them. If the
#   model moves slowly compared with the chains, they are samples of the model.
# - **Parallel tempering** (`pb.ParallelTempering()`): like PCD, with a ladder of hotter machines beside it, in which
#   energies are scaled down towards independent bits. Hot chains cross between modes, and neighbours exchange states.
# - **Exact** (`pb.Exact()`): $\log Z$ itself, where one side of the machine is small.
#
# ### Side by side
#
# Bars and stripes of 4 × 4 pixels, 30 patterns, and 12 hidden units, so that $Z$ is a sum of $2^{12}$ terms and every
# epoch can be judged exactly. All machines have the same start, the same batches and the same learning rate, which
# falls to zero; the second row is trained along the *centred* gradient (`centering=True`): that of a machine written in
# $v - \bar v$ and $h - \bar h$, the same distributions by better-behaved coordinates. `valid=` reports the exact
# log-likelihood; by default `fit` would keep its best epoch, which would hide what we want to see, so the monitor is
# told not to select.

# %%
bars = pb.data.load("bars_and_stripes", size=4).train
ceiling = -math.log(len(bars))
every = states(16).float()
distance, nearest = torch.cdist(every, bars.tensor, p=1).round().min(1)


class Lag(pb.Callback):
    """Every fifth epoch: how far the chains' shares of the patterns are from those of the machine (total variation)."""

    def __init__(self, machine):
        self.machine, self.epochs, self.chains, self.fresh = machine, [], [], []

    def on_epoch_end(self, training):
        epoch = len(training.history["epoch"])
        chains = getattr(self.machine.negative_phase, "chains", None)
        if chains is None or epoch % 5:
            return
        chains = chains.reshape(-1, 100, 16)[-1]  # those of the machine itself are the last of the ladder
        with torch.no_grad():
            p = (-self.machine.distribution().free_energy(every)).double().softmax(0)
        fresh = p.multinomial(100, replacement=True, generator=torch.Generator().manual_seed(epoch))
        share = torch.zeros(len(bars)).double().index_add_(0, nearest, p)
        self.epochs.append(epoch)
        for column, drawn in ((self.chains, chains), (self.fresh, every[fresh])):
            counts = torch.cdist(drawn, bars.tensor, p=1).min(1).indices.bincount(minlength=len(bars))
            column.append((counts / 100 - share).abs().sum() / 2)


def trained(phase, centering, epochs=200):
    torch.manual_seed(0)
    machine = pb.RBM(16, 12, negative_phase=phase, centering=centering)
    lag, watch = Lag(machine), machine.monitor()
    run = machine.fit(
        bars.tensor.repeat(20, 1),
        valid=bars,
        epochs=effort(epochs),
        batch_size=60,
        learning_rate=0.2,
        schedule="linear",
        monitor=pb.Monitor(watch.name, watch.evaluate, selects=False),
        callbacks=lag,
        **TRAIN,
    )
    return machine, run.history, lag


phases = {
    "CD-1": pb.CD(),
    "PCD-1": pb.PCD(num_chains=100),
    "tempering": pb.ParallelTempering(num_chains=100),
    "exact": pb.Exact(),
}
machines = {(name, centred): trained(phase, centred) for centred in (False, True) for name, phase in phases.items()}
print(f"exact log p of a pattern, at best {ceiling:.2f}; probabilities, at best 1, 0, 1/30 = {1 / 30:.4f} twice")
print("                         last   lowest,     all   2 bits       least        most")
print("                        epoch   2nd half patterns or more  probable pattern  probable")
for (name, centred), (machine, history, _) in machines.items():
    p = log_prob(machine, every).exp()
    values = history["valid_log_likelihood"]
    print(f"{name:9} {'centred' if centred else 'plain':7}  {values[-1]:10.2f}", end="")
    print(
        f"{min(values[len(values) // 2 :]):10.2f}   {p[distance == 0].sum():6.3f}   {p[distance > 1].sum():6.3f}",
        end="",
    )
    print(f"     {p[distance == 0].min():.5f}      {p[distance == 0].max():.4f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", sharey=True)
for ax, centred in zip(axes, (False, True), strict=True):
    for name in phases:
        history = machines[name, centred][1]
        ax.plot(history["epoch"], history["valid_log_likelihood"], label=name, color=None if name != "exact" else "0.3")
    ax.axhline(ceiling, color="0.6", linestyle="--", linewidth=1)
    ax.set(xlabel="epoch", title="centred gradient" if centred else "plain gradient", ylim=(-9, -3))
axes[0].set_ylabel("exact log p(v), nats")
axes[0].legend(loc="lower right")
axes[1].text(0, ceiling + 0.08, "-log 30", color="0.4", fontsize="small")
plt.show()

# %% [markdown]
# There are three ways to be wrong in this picture.
#
# - *CD-1* rises smoothly and stops: more than a nat below the exact gradient in the left panel, half a nat in the
#   right one. Patience does not help, nor a smaller learning rate, which falls to zero here. The table says what is
#   wrong with the plain machine: a tenth of its probability is on images that differ from every pattern by two bits or
#   more (with the exact gradient six in a hundred), and the patterns, which should be equally probable, are not at all.
#   One is all but lost, another has nearly four times its share.
# - *PCD-1* is not stuck. It swings, and loses nats that it had gained; it comes to rest only when the learning rate
#   falls. In the end it is far better than CD with the plain gradient, and no better with the centred one.
# - *Tempering* swings too, for a while, and ends where the exact gradient ends, to a hundredth of a nat.
#
# And the centred gradient is better for whoever has a good estimate of it: it is faster, and its end is a tenth of a
# nat higher. What remains to the dashed line is what 12 hidden units and 200 epochs cannot do.
#
# ### What goes wrong
#
# First CD's gradient: that of the weights, at the machine where CD-1 stopped and at the one where the exact gradient
# did, in the mean over 30 × 2,000 chains that begin at the patterns.


# %%
def weight_gradient(machine, negative):
    value = (-machine.free_energy(bars.tensor)).mean() - negative
    return torch.autograd.grad(value, machine.weight)[0]


torch.manual_seed(0)
begin = bars.tensor.repeat(effort(2000), 1)
for name in ("CD-1", "exact"):
    machine = machines[name, False][0]
    exact = weight_gradient(machine, (-machine.free_energy(every)).logsumexp(0))
    print(f"where {name} stopped: size of the gradient, exact {exact.norm():.3f}", end="")
    for steps in (1, 10, 100):
        particles = machine.distribution().gibbs(begin, steps)
        print(f", CD-{steps} {weight_gradient(machine, (-machine.free_energy(particles)).mean()).norm():.3f}", end="")
    print()

# %% [markdown]
# For CD-1 the first machine is done: its gradient is nearly zero. The exact one is fifty times as large. CD compares
# the data with what is a step away from them, so it makes each pattern more probable than its surroundings, and there
# it ends: how much probability one pattern has beside *another* one, no chain of one step can tell. A hundred steps
# tell more. Where the exact gradient is nearly zero, that of CD is small as well: CD does not spoil a good machine,
# here; it stops before it gets there.
#
# PCD's chains travel. They ought to be samples of the machine, and we know its probabilities exactly: assign each image
# to the pattern nearest to it, and compare how many of the 100 chains are at each of the 30 patterns with how many
# should be.

# %%
machine, history, _ = machines["CD-1", False]
log_p = log_prob(machine, every)
strangers = log_p.masked_fill(distance < 2, -torch.inf).topk(14).indices
print(f"CD-1, plain: {log_p[strangers].exp().sum():.3f} of the probability is on these fourteen images; ", end="")
print(f"a pattern has {log_p[distance == 0].exp().mean():.4f} on average")
figure, ax = plt.subplots(figsize=(9.5, 1.1), layout="constrained")
pb.plots.image_grid(every[strangers], cols=14, padding=0.1, ax=ax)
ax.set_title("CD-1: the most probable images that differ from every pattern by two bits or more", fontsize="medium")

figure, axes = plt.subplots(1, 3, figsize=(12, 3.3), layout="constrained")
for name in phases:
    p = log_prob(machines[name, False][0], every)[distance == 0].exp().sort().values
    axes[0].semilogy(range(1, 31), p, label=name, color=None if name != "exact" else "0.3")
axes[0].axhline(1 / 30, color="0.6", linestyle="--", linewidth=1)
axes[0].set(xlabel="patterns, sorted", title="probability of each pattern, plain gradient")
axes[0].legend()
for ax, name in zip(axes[1:], ("PCD-1", "tempering"), strict=True):
    lag = machines[name, False][2]
    ax.plot(lag.epochs, lag.chains, label="the 100 chains")
    ax.plot(lag.epochs, lag.fresh, color="0.6", label="100 exact samples")
    ax.set(xlabel="epoch", title=f"{name}: distance from the machine", ylim=(0, 1))
    ax.legend()
axes[1].set_ylabel("total variation")
plt.show()

# %% [markdown]
# CD's strangers are pieces of bars and stripes put together. The first panel has the patterns of the table in full: CD
# and PCD differ from the exact gradient at both ends, tempering much less.
#
# PCD's chains are as good as exact samples in the first epochs (a hundred samples are never closer than about 0.2).
# Then weights grow, a chain needs longer and longer to get from one pattern to another, and the machine changes faster
# than its chains: they crowd at patterns that *were* probable. The gradient pushes the machine away from there, however
# right it is, until the chains have moved, too late again. This makes the curve swing. With the learning rate the lag
# falls. Tempering's chains lag in the middle of training, and then agree as well as exact samples do.
#
# ### The loss says nothing

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
for ax, key in zip(axes, (("PCD-1", False), ("tempering", True)), strict=True):
    history = machines[key][1]
    pb.plots.learning_curves(history, ["train_loss", "valid_log_likelihood"], ax=ax)
    ax.axhline(ceiling, color="0.6", linestyle="--", linewidth=1)
    ax.set_title(f"{key[0]}, {'centred' if key[1] else 'plain'}", loc="left", fontsize="medium")
    print(f"{key[0]:9}: minus the training loss {-history['train_loss'][-1]:.2f}, ", end="")
    print(f"exact {history['valid_log_likelihood'][-1]:.2f}, ceiling {ceiling:.2f}")
plt.show()

# %% [markdown]
# Read as a log-likelihood, minus the loss would be fifty nats *above* what any model can reach, and the worse of these
# two machines has the better one: it is $-F(v)$, less a $\log Z$ that nobody told it. So the library never reports it
# as a bound. Validation uses the exact likelihood where it is cheap, as here, and else a pseudo-likelihood that says
# its name; and in evaluation mode `log_prob` without a known $\log Z$ is an error, not a number.
#
# **Exercise 2.** Train with a *constant* learning rate, `schedule=None`. What happens to PCD-1, and which smaller rate
# mends it? *Hint: the machine must move slowly compared with its chains; more `steps`, or fast weights
# (`pb.PCD(fast_rate=0.2)`), make the chains move faster instead.*
#
# **Exercise 3.** Invert the images, `1 - bars.tensor`, and train plain and centred. The two data sets are equally hard.
# Which gradient notices? *Hint: compare the curves of one gradient on both.*

# %% [markdown]
# ## 4. Units that are no bits
#
# What made the sums easy is that units are independent given the other side. They need not be bits for that. With real
# visible units of scale $\sigma$,
#
# $$E(v, h) = \sum_i \frac{(v_i - a_i)^2}{2 \sigma^2} - \sum_{ij} \frac{v_i}{\sigma^2} W_{ij} h_j - b^\top h,
# \qquad v \mid h \sim \mathrm{Normal}(a + W h, \sigma^2),$$
#
# the machine is a mixture of $2^H$ Normals of the same width, whose centres are sums of columns of $W$: a mixture that
# is exponentially large and has few parameters. In the plane we see it. Its $Z$ is a sum over the hidden states.

# %%
toy = pb.data.load("eight_gaussians", size=2000, seed=0)
torch.manual_seed(0)
real = {"name": "gaussian", "scale": 0.25}
gaussian = pb.RBM(2, 10, visible=real, negative_phase=pb.PCD(num_chains=500), centering=True)
settings = {"batch_size": 100, "learning_rate": 1e-2, "schedule": "linear", **TRAIN}
gaussian.fit(toy.train, valid=toy.valid, epochs=effort(150), **settings)
print(gaussian.log_likelihood(toy.test))
print(f"the distribution that drew them: {toy.test.true_log_prob.mean():.3f}")

with torch.no_grad():
    hidden = states(10).float()
    centres = gaussian.visible_bias + hidden @ gaussian.weight.T
    weights = hidden @ gaussian.hidden_bias + (centres.square() - gaussian.visible_bias.square()).sum(1) / (2 * 0.25**2)
    by_hand = (2 * math.pi * 0.25**2) * weights.double().exp().sum()
print(f"log Z by hand {by_hand.log():.4f}, rbm.log_partition {gaussian.log_partition('exact').value:.4f}")

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained", sharex=True, sharey=True)
box = ((-2.2, 2.2), (-2.2, 2.2))
pb.plots.density(lambda v: -gaussian.free_energy(v.float()).double(), toy.test.tensor[:300], box, ax=axes[0])
share = weights.softmax(0)
angles = torch.arange(8) * math.pi / 4
corners = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], 1)
near = torch.cdist(centres, corners).min(1).values < 0.25
print(f"of {len(share)} Normals, {int(near.sum())} are within one scale of a cluster's centre; ", end="")
print(f"they have {share[near].sum():.2f} of the weight, the heaviest eight {share.topk(8).values.sum():.2f}")
axes[1].scatter(*centres.T, s=(1500 * share).clamp(min=0.5), color="C0", alpha=0.6, linewidths=0)
axes[1].set(xlim=box[0], ylim=box[1], aspect="equal", title="centres of 1,024 Normals, area: weight")
plt.show()

# %% [markdown]
# Eight clusters, found without a word about eight. Four fifths of the weight is on two dozen Normals at the clusters;
# most of the others have next to nothing, and a few make bridges between neighbours. Bridges cost
# likelihood, and so does the width: 0.25 is ours, that of the data $0.125 \sqrt 2 = 0.18$ (`"scale": "learned"`
# lets training decide).
#
# Other kinds go by the same `visible=` and `hidden=`:
#
# - *ReLU* units are Normals cut off below zero, for values that are never negative; two sides that are not bounded can
#   have an infinite $Z$, and such machines are refused by name.
# - *Categorical* units take one of $K$ values, as one-hot vectors: ratings, letters.
# - *Counts* are the words of a document, drawn from one softmax over the vocabulary as often as the document is long
#   (the *replicated softmax*). Its hidden units are topics. $Z$ depends on the length, so the particles have to have
#   the lengths of the data; contrastive divergence, which begins at the documents, has that for free.
#
# A tiny one: documents of 4 to 30 words about one or two of three subjects, with words that say nothing in between.

# %%
subjects = {
    "kitchen": "flour oven sugar bake butter",
    "football": "goal team match score coach",
    "sky": "star moon orbit comet planet",
}
words = np.array([word for subject in subjects.values() for word in subject.split()] + ["the", "of", "and"])
rates = torch.full((3, len(words)), 0.005)
for row in range(3):
    rates[row, 5 * row : 5 * row + 5] = rates[row, 15:] = 0.12
generator = torch.Generator().manual_seed(0)


def documents(count):
    first, second = torch.randint(3, (2, count), generator=generator)
    lengths = torch.randint(4, 31, (count,), generator=generator)
    mixed = rates[first] + rates[second]
    counts = torch.zeros(count, len(words))
    for row, length in enumerate(lengths.tolist()):
        drawn = mixed[row].multinomial(length, replacement=True, generator=generator)
        counts[row] = drawn.bincount(minlength=len(words))
    return counts


known, new = documents(600), documents(300)
topics = pb.RBM(len(words), 3, visible="counts", negative_phase="cd")
torch.manual_seed(0)
without = pb.RBM(len(words), 3, visible="counts").prepare(known).eval()
topics.fit(known, valid=new, epochs=effort(60), batch_size=50, optimizer="adam", learning_rate=0.02, **TRAIN)
print(f"new documents, nats each: word frequencies alone {without.log_likelihood(new).value:.2f}, ", end="")
print(f"three topics {topics.log_likelihood(new).value:.2f}")
for number, column in enumerate(topics.weight.detach().T):
    order = column.argsort(descending=True)
    print(f"unit {number}: on for {', '.join(words[order[:5]])}; off for {', '.join(words[order[-5:]])}")

# %% [markdown]
# Three nats a document better than the word frequencies. A hidden unit is a bit, so three of them are not three
# subjects: each is on for some and off for others, and a document about two subjects has a code as well. "The", "of"
# and "and" are in no list; every subject has them.

# %% [markdown]
# ## 5. The price of Z
#
# From here on $Z$ cannot be enumerated. *Annealed importance sampling* (AIS; Neal 2001, Salakhutdinov and Murray 2008)
# begins where it is known: at independent bits, with the data's means. It goes to the machine by many small steps
# $\beta_0 = 0 < \dots < \beta_T = 1$, and a chain collects at each the ratio of the next density to the present one,
# before it moves:
#
# $$w = \prod_{t=0}^{T-1} \frac{\tilde p_{t+1}(v_t)}{\tilde p_t(v_t)}, \qquad Z = Z_0\, \mathbb{E}[w] .$$
#
# The mean weight is right for *any* number of temperatures; only its variance depends on it. By Jensen's inequality the
# logarithm is then too small in expectation: $\log Z$ is underestimated, and every log-likelihood computed from it is
# *overestimated*. That is the dangerous direction.
#
# On a machine whose $Z$ we know, the best one of section 3:

# %%
machine = machines["exact", True][0]
truth = machine.log_partition("exact").value
counts = (3, 10, 30, 100, 300, 1000, 3000) if EFFORT == 1 else (3, 10, 30)
seeds = range(5)
table = {}
for count in counts:
    quick = {"num_temperatures": count, "examine": False, "compile": "eager"}
    table[count] = found = [machine.log_partition("ais", seed=seed, **quick) for seed in seeds]
    errors = torch.tensor([one.value - truth for one in found])
    print(f"{count:5} temperatures: errors {', '.join(f'{error:+.3f}' for error in errors)}; ", end="")
    print(f"stated ± {sum(one.stderr for one in found) / 5:.3f}, ESS {sum(one.ess for one in found) / 5:.0f} of 100")

quick = {"num_temperatures": 10, "num_chains": 10, "examine": False, "compile": "eager"}
small = torch.tensor([machine.log_partition("ais", seed=seed, **quick).value for seed in range(effort(500))]) - truth
ratio = small.exp()
print(f"{len(small)} runs of 10 chains over 10 temperatures: log Z off by {small.mean():+.3f} ± ", end="")
print(f"{small.std() / len(small) ** 0.5:.3f}, ", end="")
print(f"estimated Z / Z = {ratio.mean():.3f} ± {ratio.std() / len(small) ** 0.5:.3f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for seed in seeds:
    places = [count * 1.06 ** (seed - 2) for count in counts]
    values, bars_ = [table[count][seed].value for count in counts], [2 * table[count][seed].stderr for count in counts]
    axes[0].errorbar(places, values, bars_, fmt="o", markersize=3.5, capsize=2, color="C0", linewidth=1)
axes[0].axhline(truth, color="0.4", linestyle="--", label=f"exact: {truth:.3f}")
axes[0].set(xscale="log", xlabel="temperatures", ylabel="log Z, nats", title="five runs each, ± 2 stated errors")
axes[0].legend()
axes[1].plot(counts, [sum(one.ess for one in table[count]) / 5 for count in counts], "o-")
axes[1].set(xscale="log", xlabel="temperatures", ylabel="effective sample size", ylim=(0, 102), title="of 100 chains")
plt.show()

# %% [markdown]
# Ten times as many temperatures, about a third of the error, and the stated error is right about its size. The last
# line is Jensen's inequality at work: over many poor runs the mean of $Z$ is right, and the mean of $\log Z$ too low.
#
# ### How AIS fools you
#
# Sixty visible bits and one hidden unit, with weights 6 and biases -3 and -150. With the unit off, each bit is on with
# probability $\sigma(-3)$, about three of sixty; with the unit on, it is $\sigma(3)$, about 57. Which of the two has
# more probability? By hand: off, $60\, \mathrm{softplus}(-3) = 2.9$ nats; on,
# $-150 + 60\, \mathrm{softplus}(3) = 32.9$. So nearly everything is at 57. The data, however, are at three.

# %%
two_modes = pb.RBM(60, 1)
two_modes.set_parameters(torch.full((60, 1), 6.0), torch.full((60,), -3.0), torch.tensor([-150.0]))
truth = two_modes.log_partition("exact").value
data = torch.bernoulli(torch.full((1000, 60), -3.0).sigmoid(), generator=torch.Generator().manual_seed(0))
print(f"exact log Z {truth:.2f}")
for count in (effort(100), effort(1000), effort(5000)):
    base = {"base": data.mean(0), "num_temperatures": count, "compile": "eager"}
    fooled = two_modes.log_partition("ais", examine=False, **base)
    print(f"{count:5} temperatures: {fooled.value:.3f} ± {fooled.stderr:.4f}, ESS {fooled.ess:.0f} of 100")
claimed = (-two_modes.free_energy(data)).mean().item()
print(f"log p of the data: claimed {claimed - fooled.value:.2f}, true {claimed - truth:.2f}")

ones = torch.arange(61, dtype=torch.float64)
ways = math.lgamma(61) - torch.lgamma(ones + 1) - torch.lgamma(61 - ones)
off, on = ways - 3 * ones, ways + 3 * ones - 150
figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
ax.plot(ones, off, label="hidden unit off: data, and all chains")
ax.plot(ones, on, color="C2", label="hidden unit on: the machine")
ax.set(xlabel="ones among the 60 visible bits", ylabel="log of their share of Z", ylim=(-40, 40))
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# The error bar is tiny, the effective sample size is perfect, fifty times as many temperatures change nothing, and
# $\log Z$ is wrong by 30 nats. Every chain went from the base into the small mode and stayed. All diagnostics of the
# weights are blind here, as those of importance sampling were in tutorial 2; but there a missed mode made the estimate
# too *modest*, and here it makes the model look 30 nats *better* than it is.
#
# Annealing back from the data would not help: those chains are in the same mode, and agree. What helps are chains that
# know neither the data nor the estimate. By default `log_partition("ais")` examines itself with two kinds: annealed
# from units *without any bias*, and started at *random hidden units*. Both then go the way back, which gives another
# value of $\log Z$; and all distinct states that any chain has met are added up, since their $e^{-F}$ are a part of
# $Z$.

# %%
examined = two_modes.log_partition("ais", base=data.mean(0), num_temperatures=effort(1000), compile="eager")
print(f"value {examined.value:.2f}, lower {examined.lower:.2f}, upper {examined.upper:.2f}, exact {truth:.2f}")
print(f"reliable: {examined.reliable}")
print(*examined.reason.split("; "), sep="\n")

# %% [markdown]
# `reliable` is False, and the reasons say why. `lower` is no longer the estimate, but what the states that were found
# weigh. `upper` comes from the way back; from exact samples of the machine it would be an upper bound in expectation,
# from other starts it shows only that something disagrees. Here the truth lies between the two. The value itself stays:
# an examination does not repair an estimate, it withdraws it. (And since weights do not show their own bias, the
# standard error of an examined estimate is at least half of what the way up and the ways back differ by.)
#
# ### What it cannot find
#
# A mode that none of these chains reaches. To build one, let two groups of hidden units compete for twenty bits. One
# loud unit, with weights ± 16.5, asks for "left half on, right half off" (or the reverse). Two hundred quiet units,
# with weights ± 0.2, ask for every second bit on (or the reverse). All biases make up for half of the weights, so that
# each image is as probable as its negative. Together the quiet ones are stronger: their images have more probability.
# But when the machine is still hot, or the hidden units are random, the quiet ones are not yet agreed, and the loud one
# decides.

# %%
halves = torch.tensor([1.0, -1.0]).repeat_interleave(10)
every_second = torch.tensor([1.0, -1.0]).repeat(10)
weight = torch.cat([16.5 * halves[:, None], 0.2 * every_second[:, None].expand(-1, 200)], 1)
crowd = pb.RBM(20, 201).set_parameters(weight, -weight.sum(1) / 2, -weight.sum(0) / 2)
truth = crowd.log_partition("exact").value
with torch.no_grad():
    for name, image in {"halves": halves, "every second": every_second}.items():
        print(f"{name:13} log p {-crowd.free_energy((image[None] + 1) / 2).item() - truth:.2f}")
print(f"exact {truth:.2f}")
for seed in range(3):
    settings = {"base": torch.full((20,), 0.5), "num_temperatures": effort(1000), "compile": "eager"}
    one = crowd.log_partition("ais", seed=seed, **settings)
    print(f"AIS   {one.value:.2f} ± {one.stderr:.2f}, ESS {one.ess:.0f}, upper {one.upper:.2f}, ", end="")
    print(f"reliable: {one.reliable}")

# %% [markdown]
# Five nats too low, from each seed, and nothing shows it: small errors, a good effective sample size, a way back that
# agrees, `reliable: True`. All chains, wherever they began, fell to the loud unit while it was hot, and none crossed
# later. (Physicists know this as a phase transition of the first order.) So *reliable* means that somebody looked from
# elsewhere and found nothing. It is no proof. That is why the library enumerates wherever one side has at most $2^{20}$
# states, and why a likelihood that matters should stand beside one of another kind.
#
# **Exercise 4.** Do ten times as many temperatures find the other mode of `crowd`? And with `data.mean(0)`
# replaced by rates of 0.5, does it find that of `two_modes`? *Hint: a chain that crosses has a huge weight; look at
# the effective sample size.*
#
# **Exercise 5.** Run one of the machines of section 3 backwards: exact samples of `every`, by `multinomial`, annealed
# to independent bits. Why is that estimate of $\log Z$ an *upper* bound in expectation, and why are samples from PCD's
# chains not good enough for it? *Hint: the same inequality for $1 / Z$.*

# %% [markdown]
# ## 6. Digits
#
# At last a machine that cannot be enumerated: 64 pixels and 64 hidden units, trained by PCD along the centred gradient,
# on bits drawn anew in each batch. Beside it one with 16 hidden units, whose $Z$ is exact.

# %%
digits = pb.data.load("digits", binarize="dynamic", seed=0)


def digit_machine(num_hidden):
    torch.manual_seed(0)
    machine = pb.RBM((1, 8, 8), num_hidden, negative_phase=pb.PCD(num_chains=200), centering=True)
    machine.fit(digits.train, epochs=effort(200), batch_size=50, learning_rate=0.3, schedule="linear", **TRAIN)
    return machine


few, many = digit_machine(16), digit_machine(64)
quick = {"num_temperatures": effort(1000), "compile": "eager"}
results = {
    "independent pixels": bernoulli_baseline(digits.train, digits.test),
    "16 units, exact": few.log_likelihood(digits.test, "exact"),
    "16 units, AIS": few.log_likelihood(digits.test, "ais", **quick),
    "64 units, AIS": many.log_likelihood(digits.test, "ais", **quick),
}
for name, result in results.items():
    print(f"{name:19} {result}")
again = many.log_likelihood(digits.test, "ais", seed=1, num_temperatures=effort(3000), compile="eager", examine=False)
log_z = many.log_partition("ais", **quick)
print(f"64 units, other seed, three times the temperatures: {again.value:.3f}")
print(f"64 units, log Z: lower {log_z.lower:.2f}, upper {log_z.upper:.2f}; {log_z.reason}")
difference = results["64 units, AIS"].per_example - results["16 units, exact"].per_example
print(f"64 units less 16: {difference.mean():.2f} ± {difference.std() / math.sqrt(len(difference)):.2f} nats, paired")
pb.plots.estimates(results)
plt.show()

# %% [markdown]
# Where the truth is known, AIS agrees with it. The machine with 64 units is better by more than half a nat, ten times
# the paired error. Its number is an upper bound in expectation (the arrow): the truth lies lower, if anything. How
# much? More temperatures lower it by a few hundredths, more than the stated error; and the way back had said as much,
# its $\log Z$ being larger by about as many. So the number to print is the one with more temperatures, with its
# protocol.

# %%
torch.manual_seed(0)
figure, axes = plt.subplots(1, 3, figsize=(12, 4.3), layout="constrained")
pb.plots.image_grid(digits.test.tensor[:49], cols=7, ax=axes[0])
pb.plots.image_grid(many.sample(49, steps=1000), cols=7, ax=axes[1])
pb.plots.filters(many.weight.detach().T, cols=8, ax=axes[2])
for ax, name in zip(axes, ("test digits", "samples: 1,000 Gibbs steps", "weights of the 64 units"), strict=True):
    ax.set_title(name)

# %% [markdown]
# ### In-painting
#
# The machine knows the *joint* distribution of all pixels, so any part can be asked for given any other: hold the
# observed bits and let the rest run. Nothing is trained for it.

# %%
upper_half = torch.zeros(1, 8, 8, dtype=torch.bool)
upper_half[:, :4] = True
hidden_part = ~upper_half.flatten()
torch.manual_seed(0)
filled = many.inpaint(digits.test, upper_half, steps=effort(500))
seen = digits.test.tensor.flatten(1)[:, hidden_part]
alone = torch.bernoulli(many.mean_rates.expand(len(seen), -1))[:, hidden_part]
grey = pb.data.load("digits", binarize="none").test.tensor.flatten(1)
twice = torch.bernoulli(grey)[:, hidden_part]
guesses = {"pixels drawn alone": alone, "in-painted": filled[:, hidden_part], "drawn from the grey values": twice}
for name, guess in guesses.items():
    print(f"{name:26} {(guess == seen).double().mean():.1%} of the hidden bits as in the digit")
figure, ax = plt.subplots(figsize=(9, 2.9), layout="constrained")
pb.plots.restorations(digits.test.tensor[:16], upper_half, filled[:16], (1, 8, 8), cols=16, ax=ax)
plt.show()

# %% [markdown]
# Of the hidden bits some are noise: even bits drawn from the digit's own grey values agree with its bits only as often
# as the last line says. Between guessing each pixel on its own and that limit, the machine covers a part of the way:
# from the upper half of a digit one often cannot know the lower one. What it draws is *a* digit with this upper half.
#
# **Exercise 6.** Draw the fillings of one digit a hundred times and show their mean. Where is the machine sure, where
# not? *Hint: `many.inpaint(digit.expand(100, -1), mask)`.*
#
# **Exercise 7.** Threshold the digits at one half (`binarize="threshold"`) and give the likelihood of `many` on them.
# Higher or lower? Would you put the two numbers into one table? *Hint: tutorial 2, section 6.*
#
# ## What to keep
#
# - An energy says which of two examples is more probable, without $Z$. What a probability *is* costs $Z$.
# - Its gradient needs samples only, and one surrogate with the right gradient puts an RBM under the same bound as all
#   models of these tutorials. The value of that surrogate is no likelihood.
# - A negative phase errs by where its chains have been: CD never leaves the data, PCD lags, tempering crosses.
# - AIS underestimates $\log Z$, and so flatters the model. A small error bar says that the chains agree. Whether they
#   have been everywhere, chains from elsewhere may tell; nothing short of enumeration tells for sure.
#
# ## References
#
# - P. Smolensky (1986), *Information processing in dynamical systems: foundations of harmony theory*. The RBM.
# - G. Hinton (2002), *Training products of experts by minimizing contrastive divergence*; T. Tieleman (2008), *Training
#   restricted Boltzmann machines using approximations to the likelihood gradient*. CD and PCD.
# - G. Desjardins et al. (2010), *Parallel tempering for training of restricted Boltzmann machines*; A. Fischer and C.
#   Igel (2014), *Training restricted Boltzmann machines: an introduction*. Bars and stripes, and how CD diverges.
# - J. Melchior, A. Fischer and L. Wiskott (2016), *How to center deep Boltzmann machines*.
# - M. Welling, M. Rosen-Zvi and G. Hinton (2004), *Exponential family harmoniums*; R. Salakhutdinov and G. Hinton
#   (2009), *Replicated softmax: an undirected topic model*. Other units.
# - R. Neal (2001), *Annealed importance sampling*; R. Salakhutdinov and I. Murray (2008), *On the quantitative analysis
#   of deep belief networks*; Y. Burda, R. Grosse and R. Salakhutdinov (2015), *Accurate and conservative estimates of
#   MRF log-likelihood using reverse annealing*, [arXiv 1412.8566](https://arxiv.org/abs/1412.8566).
