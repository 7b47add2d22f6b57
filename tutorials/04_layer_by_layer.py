# %% [markdown]
# # Layer by layer: pretraining, semantic hashing, anomalies
#
# Three old uses of autoencoders, and what is left of them when they are measured beside the obvious alternative.
#
# You will see
#
# 1. how a deep autoencoder is trained one layer at a time, why that was needed, and what else does the job;
# 2. what pretraining without labels is worth when there are few labels;
# 3. how noise makes a code binary, and how to search a database by 32 bits;
# 4. how a model of normal examples finds strange ones, where to draw the line,
# 5. and how a likelihood misleads there.
#
# You need tutorial 1 and some PyTorch; for section 5 the evidence lower bound of tutorial 2. A GPU is not needed.

# %%
import math
import os

import matplotlib.pyplot as plt
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import probae as pb

EFFORT = 0.03 if os.environ.get("PROBAE_TUTORIAL_SHORT") else 1.0  # the project's checks train little; you want 1.0
TRAIN = {"seed": 0, "batch_size": 100, "progress": False}  # settings of all trainings below


def effort(number):
    return max(2, round(EFFORT * number))


plt.rcParams.update({"figure.dpi": 72, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=pb.plots.style.COLOURS)

digits = pb.data.load("digits", binarize="none")
train, valid, test = digits
print(train)

# %% [markdown]
# ## 1. Greedy layerwise pretraining
#
# A deep autoencoder is a chain of layers, $f = f_3 \circ f_2 \circ f_1$ and $g = g_1 \circ g_2 \circ g_3$. By the chain
# rule the gradient for $f_1$ is a product of one Jacobian for each layer behind it. A sigmoid layer contributes
# $\sigma'(a)\, W$ with $\sigma' \le 1/4$, so with small weights $W$ the product all but vanishes: the layers next to
# the data learn nothing, and those above have nothing to learn from.
#
# The way out of 2006 (Hinton and Salakhutdinov; Bengio et al. 2007) never sends a gradient through more than one layer:
#
# 1. Train a *shallow* model of the data, $x \to f_1(x) \to g_1(f_1(x))$.
# 2. Train another shallow one on its codes $h_1 = f_1(x)$, a third one on $h_2 = f_2(h_1)$, and so on.
# 3. *Unroll*: the encoders in turn, then the decoders in reverse. *Fine-tune* the whole.
#
# `model.pretrain(data, by=...)` does the first two and puts the weights in their places; `fit` is the third. The
# shallow models may be autoencoders, denoising ones, contractive ones, or restricted Boltzmann machines, whose mean
# field is a sigmoid layer in each direction.
#
# All networks below are 64-128-64-16-64-128-64. The pixels lie in $[0, 1]$, so the Normal likelihood gets a sigmoid for
# its mean.

# %%
GREY = {"name": "normal", "nonlinearity": "sigmoid", "scale": 0.2}


def deep(activation):
    torch.manual_seed(0)
    code = "sigmoid" if activation == "sigmoid" else "linear"
    return pb.Autoencoder(64, 16, hidden=(128, 64), likelihood=GREY, activation=activation, nonlinearity=code)


def squared_error(x, reconstruction):
    return (x.tensor - reconstruction).square().sum(1).mean().item()


fresh, stacked = deep("sigmoid"), deep("sigmoid")
runs = stacked.pretrain(train, by="autoencoder", epochs=effort(20), learning_rate=5e-3, **TRAIN)
for name, one in {"fresh": fresh, "pretrained": stacked}.items():
    code = one.embed(test)
    first = one.encoder[0].weight
    one.objective()(one.model, one.guide, train.tensor[:100]).backward()
    print(f"{name:10}  a code unit's standard deviation over digits {code.std(0).mean():.4f}, ", end="")
    print(f"gradient of the first layer {first.grad.norm():.3f}, ", end="")
    print(f"squared error {squared_error(test, one.reconstruct(test)):.2f}")
    one.zero_grad()
print(f"{len(runs)} runs; squared error of the mean digit {squared_error(test, train.tensor.mean(0)):.2f}")

# %% [markdown]
# The fresh network does not see its input: over all digits its codes hardly vary, and the gradient that reaches its
# first layer is hundreds of times smaller than that of the pretrained one, although its error is larger by far. (It is
# worse than the mean digit only because its output bias is not set yet; `fit` starts it there.) The pretrained network
# has never been trained as a whole, and reconstructs.
#
# Now fine-tune, beside what has been proposed since. All rows have the same work, 120 epochs; an epoch of pretraining
# for all three layers counts as three. (A shallow epoch costs less than one of the whole, so this favours the rows
# without pretraining.)
#
# - *torch's weights*: the initial weights that `nn.Linear` has by default, as above.
# - *rescaled*: Normal weights with a variance that keeps signals at their size from layer to layer, of Glorot and
#   Bengio (2010) for sigmoids, here with their gain of 4, and of He et al. (2015) for ReLUs, with a gain of $\sqrt 2$.
# - pretrained *by autoencoders*, *by denoising* ones, *by RBMs* (contrastive divergence, Adam, in batches of 20).


# %%
def rescaled(model, gain):
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight, gain=gain)
    return model


def pretrained(model, by, **settings):
    model.pretrain(train, by=by, epochs=effort(20), **{**TRAIN, "learning_rate": 5e-3, **settings})
    return model


MASKING = {"name": "denoising", "corruption": "masking"}
MACHINE = {"name": "rbm", "negative_phase": pb.CD()}
networks = {
    "sigmoid, torch's weights": deep("sigmoid"),
    "sigmoid, rescaled": rescaled(deep("sigmoid"), 4.0),
    "sigmoid, by autoencoders": stacked,
    "sigmoid, by denoising": pretrained(deep("sigmoid"), MASKING),
    "sigmoid, by RBMs": pretrained(deep("sigmoid"), MACHINE, learning_rate=0.01, batch_size=20, optimizer="adam"),
    "ReLU, torch's weights": deep("relu"),
    "ReLU, rescaled": rescaled(deep("relu"), math.sqrt(2)),
    "ReLU, by autoencoders": pretrained(deep("relu"), "autoencoder"),
    "ReLU, by denoising": pretrained(deep("relu"), MASKING),
}
before = {name: one.reconstruct(test) for name, one in networks.items()}
errors, curves = {}, {}
print("squared error              before fine-tuning   after: training set   test set")
for name, one in networks.items():
    first = 60 if " by " in name else 0
    run = one.fit(train, valid=valid, epochs=effort(120 - first), learning_rate=3e-3, schedule="cosine", **TRAIN)
    constant = 32 * math.log(2 * math.pi * 0.2**2)  # of the Normal density
    curves[name] = first, [-(value + constant) * 2 * 0.2**2 for value in run.history["valid_log_joint"]]
    errors[name] = squared_error(test, one.reconstruct(test))
    parts = squared_error(test, before[name]), squared_error(train, one.reconstruct(train)), errors[name]
    print("{:25}  {:18.2f}   {:19.3f}   {:8.3f}".format(name, *parts))

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", sharey=True)
for name, (first, values) in curves.items():
    ax = axes[int(name.startswith("ReLU"))]
    ax.semilogy(range(first + 1, first + 1 + len(values)), values, label=name.partition(", ")[2])
for ax, name in zip(axes, ("sigmoid layers", "ReLU layers"), strict=True):
    ax.axvspan(0, 60, color="0.95", zorder=-1)
    ax.set(xlabel="epochs of work (grey: pretraining, where there is one)", title=name, xlim=(0, None))
    ax.set_yticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"])
    ax.minorticks_off()
    ax.legend(fontsize="small")
axes[0].set_ylabel("squared error, validation set")

figure, axes = plt.subplots(1, 3, figsize=(12, 2.6), layout="constrained")
shown = {
    "torch's weights, all 120 epochs": networks["sigmoid, torch's weights"].reconstruct(test),
    "by autoencoders, not yet fine-tuned": before["sigmoid, by autoencoders"],
    "by autoencoders, fine-tuned": stacked.reconstruct(test),
}
for ax, (name, images) in zip(axes, shown.items(), strict=True):
    pb.plots.reconstructions(test.tensor[:14], images[:14], cols=7, ax=ax)
    ax.set_title(f"sigmoid: {name}", fontsize="medium")
figure.get_layout_engine().set(wspace=0.08)
plt.show()

# %% [markdown]
# Block by block:
#
# - *Sigmoids, torch's weights.* After all 120 epochs this network draws little more than blurs. It is not stuck, it is
#   slow: its curve falls by stages, and ends far up.
# - *Sigmoids, pretrained.* Before any fine-tuning the stack of autoencoders is better than that, and fine-tuning takes
#   it far below. Denoising autoencoders and RBMs give a worse start: they were trained for something else than the best
#   reconstruction. This is the result of 2006.
# - *Sigmoids, rescaled.* But one line does as well, or a little better: weights of the right size. What pretraining
#   solved was to get signals and gradients through at the start.
# - *ReLUs* do not saturate, and learn from any of these starts. Pretraining still helps, by denoising most; rescaling
#   helps more.
#
# (One seed each, so differences of a few hundredths mean little.) For reconstruction, then, pretraining is one way
# among others to begin well, and not the shortest. Its other promise concerns labels.
#
# **Exercise 1.** Print the standard deviation of the codes and the gradient of each layer for `rescaled` networks with
# gains of 1, 2, 4 and 8, without training. Which gain would you choose, and which one trains best? *Hint:
# `model.unrolled()` has all layers in turn; with sigmoids, gain 1 keeps the size of signals only if $\sigma' = 1$.*
#
# **Exercise 2.** Pretrain with the contractive and the denoising autoencoder at several strengths of their penalty or
# corruption. Is the best start the one that reconstructs best before fine-tuning? *Hint: `by=` takes a configuration,
# `{"name": "contractive", "strength": 0.1}`; the table has both columns.*

# %% [markdown]
# ## 2. Few labels
#
# Labels cost more than examples. Pretrain on all 1,197 training digits without labels, then put a linear layer on the
# code and train everything with 50 or 200 labels: `model.classifier(10)` copies the encoder and does just that, with
# $p(y \mid x) = \mathrm{Categorical}(\mathrm{softmax}(V f(x) + c))$ and an empty guide, so that its evidence lower
# bound is $\log p(y \mid x)$ itself.
#
# The encoder is 64-128-128-64, sigmoid. `keep_labels` hides the labels of all but a few; each number is the mean of
# four draws of them, ± its standard error.


# %%
def wide():
    torch.manual_seed(0)
    return pb.Autoencoder(64, 64, (128, 128), GREY, activation="sigmoid", nonlinearity="sigmoid")


encoders = {
    "torch's weights": wide(),
    "rescaled": rescaled(wide(), 4.0),
    "by autoencoders": pretrained(wide(), "autoencoder"),
    "by denoising": pretrained(wide(), MASKING),
}


def nearest(known):
    seen = known.labels >= 0
    return 1 - KNeighborsClassifier(1).fit(known.tensor[seen], known.labels[seen]).score(test.tensor, test.labels)


def trained(start, known, steps=400):
    torch.manual_seed(0)
    labels = int((known.labels >= 0).sum())
    classifier = start()
    classifier.fit(known, epochs=effort(steps * 50 // labels), **{**TRAIN, "batch_size": 50}, learning_rate=3e-3)
    return classifier.error_rate(test)


ways = {name: lambda known, one=one: trained(lambda: one.classifier(10), known) for name, one in encoders.items()}
ways["no hidden layer"] = lambda known: trained(lambda: pb.Classifier(64, 10, hidden=()), known)
ways["nearest neighbour"] = nearest
labelled = {}
print("test error         50 labels       200 labels")
for name, way in ways.items():
    each = torch.tensor([[way(train.keep_labels(count, seed=seed)) for seed in range(4)] for count in (50, 200)])
    labelled[name] = each.mean(1)
    shown = [f"{mean:6.1%} ± {error:.1%}" for mean, error in zip(each.mean(1), each.std(1) / 2, strict=True)]
    print(f"{name:17}  {shown[0]}  {shown[1]:>15}")

# %% [markdown]
# With torch's weights the network errs about twice as often as with any other start, so "pretraining halves the error"
# is true, and misleading: rescaled weights bring most of that gain without any pretraining. What is left is two points
# at 50 labels, less than two of their standard errors, and less than a point at 200. (Erhan et al. 2010 ask the
# question in earnest: does pretraining help as a start, or as a regularizer?)
#
# The last two rows keep us modest. Without a hidden layer the error is larger by a few points, and the nearest
# neighbour in pixels, which trains nothing, is nearly as good as the best at 50 labels and better than all at 200: for
# digits of 8 × 8 pixels the space of pixels is a good one already. *Put the simplest method into the table.*
#
# **Exercise 3.** Find the number of labels above which pretraining no longer pays. *Hint: `keep_labels(1000)`, then
# all; mind the standard errors of a test set of 300, about $\sqrt{e (1 - e) / 300}$.*

# %% [markdown]
# ## 3. Semantic hashing
#
# To find what is like an example in a large database one does not want to compare it with everything, pixel by pixel.
# Salakhutdinov and Hinton (2009) train an autoencoder whose code is *binary*: 32 bits an example, which a computer
# compares by one exclusive or and a count of ones. But a step function has no gradient. Their trick is noise: in
# training the code is
#
# $$z = \sigma(a + \varepsilon), \qquad \varepsilon \sim \mathrm{Normal}(0, 4^2), \quad a = f(x),$$
#
# and without noise afterwards. Around $a = 0$ the noise decides whether $z$ is near 0 or 1, so such a unit tells the
# decoder nothing. One with $|a| \gg 4$ gets through: its $z$ is near an end, whatever the noise. To reconstruct,
# training has to drive units to their ends. (Noise of scale 4 is a channel of limited capacity; the best use of it is
# binary.) `binary_codes` then says on which side of $1/2$ each unit is.


# %%
def hashing(noise):
    torch.manual_seed(0)
    model = pb.Autoencoder(64, latent_dim=32, hidden=128, likelihood=GREY, nonlinearity="sigmoid", noise=noise)
    model.pretrain(train, epochs=effort(20), learning_rate=3e-3, **TRAIN)
    model.fit(train, epochs=effort(150), learning_rate=1e-2, schedule="cosine", **TRAIN)
    return model


hashes = {"with noise": hashing(4.0), "without": hashing(0.0)}
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, hashes.items(), strict=True):
    code, bits = model.embed(test), model.binary_codes(test)
    ax.hist(code.flatten(), bins=40, range=(0, 1), density=True)
    ax.set(xlabel="value of a code unit, test set", title=f"trained {name}")
    ends = ((code < 0.1) | (code > 0.9)).double().mean()
    rounded = model.decode(bits.to(code.dtype)).mean
    print(f"{name:10}: {ends:.0%} of the units within 0.1 of an end; squared error ", end="")
    print(f"{squared_error(test, model.reconstruct(test)):.2f} from the code, ", end="")
    print(f"{squared_error(test, rounded):.2f} from its bits")
    print(f"            {len(model.binary_codes(train).unique(dim=0))} binary codes for {len(train)} training digits")
axes[0].set_ylabel("density")
plt.show()

# %% [markdown]
# With noise nearly all units sit at their ends, though no term of the loss asks for it, and rounding them costs hardly
# anything. Without noise few do: this code reconstructs better by far as it is, and worse by far from its bits. Noise
# has taken away what bits could not have carried anyway.
#
# Now the search. `pack` puts the bits of a code into words of 64 bits, `hamming_search` finds the $k$ entries that
# differ in the fewest, exactly; `retrieve` is both. Test digits ask, training digits answer.

# %%
search = pb.applications
ours = hashes["with noise"]
queries, database = search.pack(ours.binary_codes(test)), search.pack(ours.binary_codes(train))
neighbours = search.hamming_search(queries, database, k=12)
print("retrieve finds the same:", torch.equal(neighbours.indices, search.retrieve(ours, test, train, k=12).indices))
size = train.tensor.element_size() * train.tensor.shape[1]
print(f"an example as it is takes {size} bytes, its code {ours.latent_dim // 8}; here a word of 8 holds it")

chosen = torch.stack([(test.labels == label).nonzero()[0, 0] for label in range(0, 10, 2)])
nearest_ones = neighbours.indices[chosen]
right = search.same_label(nearest_ones, test.labels[chosen], train.labels)
pb.plots.retrieved(test.tensor[chosen], train.tensor[nearest_ones], relevant=right)
plt.show()

# %% [markdown]
# How good is a search? *Precision at $k$* is the share of relevant ones among the first $k$, averaged over queries; a
# digit is relevant if it has the query's label. Beside it the exact neighbours in pixels.

# %%
found = {
    "exact neighbours in pixels": search.euclidean_search(test, train, k=100),
    "32 bits, with noise": search.retrieve(ours, test, train, k=100),
    "32 bits, without": search.retrieve(hashes["without"], test, train, k=100),
    "32 numbers, without": search.euclidean_search(
        hashes["without"].embed(test), hashes["without"].embed(train), k=100
    ),
}
precisions = {
    name: search.precision_at_k(search.same_label(one.indices, test.labels, train.labels))
    for name, one in found.items()
}
for name, precision in precisions.items():
    print(f"{name:26} {precision}")
exact = search.euclidean_search(test, train, k=10).indices
for name in list(found)[1:]:
    kept = search.among(found[name].indices[:, :10].contiguous(), exact).double().mean()
    print(f"{name:26} finds {kept:.0%} of the ten exact neighbours among its first ten")
figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
pb.plots.precision_curves(precisions, ax=ax)
plt.show()

# %% [markdown]
# In a 64th of the memory, nine of the first ten that the bits find have the right label; of the exact neighbours in
# pixels a few more. Bits of the autoencoder without noise are worse, and the gap widens with $k$; its numbers, before
# rounding, are as good as pixels for small $k$. (All curves fall towards $k = 100$, since a class has only about 120
# digits in this database.) The neighbours themselves are others: of the ten exact ones, the bits find about half. In
# the picture the eight is the hard one: some of what lies near it in bits is another digit of the same build.
#
# For 1,197 examples nobody needs this. It pays where the database is too large to be looked through otherwise: an entry
# costs an exclusive or, a count of bits, and 4 bytes.
#
# **Exercise 4.** Train with noise of scale 1, 2, 4 and 8. Draw the error from the code and that from its bits against
# the scale. *Hint: the two curves come together as the noise grows; choose the scale where the bits are best.*
#
# **Exercise 5.** Do without the search: use the first 12 bits as an address in a table of lists, and look only at the
# lists whose address differs from the query's in at most one bit. How many of the answers of `hamming_search` are
# found, and how many entries are looked at? *Hint: there are $1 + 12$ such addresses; a `dict` from the address to
# indices is enough.*

# %% [markdown]
# ## 4. Anomalies
#
# Train on what is normal; what the model does not expect is strange. `anomaly_score(x)` says how strange, in nats: of a
# deterministic autoencoder $-\log p(x \mid f(x))$, its reconstruction error; of a model with a density an estimate or a
# bound of $-\log p(x)$. Here nine digits are normal, and fours are not: no model sees one in training.
#
# Each threshold on the score detects a share of the anomalies and raises false alarms for a share of the normal
# examples; the *receiver operating characteristic* (ROC) is the curve of all of them. The area under it is the
# probability that an anomaly scores higher than a normal example: 1/2 is chance.


# %%
def without(label, splits):
    return [part[part.labels != label] for part in splits]


def strange(label):
    """All digits of a class: none of them was trained on."""
    return torch.cat([part[part.labels == label].tensor for part in digits])


def anomaly_model(label, size=4):
    known, judge, _ = without(label, digits)
    torch.manual_seed(0)
    model = pb.Autoencoder(64, size, hidden=128, likelihood={"name": "normal", "scale": 0.2})
    model.fit(known, valid=judge, epochs=effort(100), learning_rate=3e-3, schedule="cosine", **TRAIN)
    return model


_, normal_valid, normal = without(4, digits)
fours = strange(4)
small, large = anomaly_model(4), anomaly_model(4, size=32)
linear = pb.ProbabilisticPCA(64, 16)
linear.fit_closed_form(without(4, digits)[0])
scorers = {"autoencoder, 4 numbers": small, "autoencoder, 32 numbers": large, "probabilistic PCA, 16": linear}
curves = {name: search.roc(model.anomaly_score(normal), model.anomaly_score(fours)) for name, model in scorers.items()}
for name, curve in curves.items():
    print(f"{name:23} {curve}")
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(1, 1.4))
pb.plots.roc(curves, ax=axes[0])
for values, name in ((small.anomaly_score(normal), "normal test digits"), (small.anomaly_score(fours), "fours")):
    axes[1].hist(values, bins=40, range=(-45, 35), density=True, alpha=0.6, label=name)
axes[1].set(xlabel="anomaly score, nats", ylabel="density", title="autoencoder, 4 numbers")
axes[1].legend()
plt.show()

# %% [markdown]
# The *smallest* code is the best detector. With 32 numbers an autoencoder reconstructs better, fours too: what copies
# everything finds nothing strange. Probabilistic PCA, linear and fitted in closed form, is as good as that one.
#
# ### Where to draw the line
#
# In practice there are no anomalies to tune on. But the *false-alarm rate* can be chosen with normal examples alone:
# of $n$ scores that were not trained on, take the $\lceil (n + 1)(1 - \alpha) \rceil$-th smallest. If a new normal
# example is drawn like them, its rank among the $n + 1$ is uniform, so that it exceeds the threshold with probability
# at most $\alpha$, *whatever the model*. Only the detection depends on how good the model is.

# %%
print("wanted   model                    false alarms   detected")
for rate in (0.05, 0.1, 0.2):
    for name in ("autoencoder, 4 numbers", "probabilistic PCA, 16"):
        model = scorers[name]
        limit = search.threshold(model.anomaly_score(normal_valid), false_alarm=rate)
        alarms, detected = ((model.anomaly_score(x) > limit).double().mean() for x in (normal, fours))
        print(f"{rate:6.0%}   {name:23}  {alarms:12.1%}   {detected:8.1%}")

# %% [markdown]
# The false alarms are near what was asked for, for both models. They need not be nearer: with about 270 validation
# digits and as many test digits, a rate of 10% varies by two or three points. The better model does not raise fewer
# alarms; it detects more at the same rate.
#
# `anomaly_map` says *where* an example is strange: $-\log p(x_d \mid f(x))$ for each pixel, which sum up to the score.

# %%
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
pb.plots.anomaly_maps(
    torch.cat([normal.tensor[:8], fours[:8]]),
    torch.cat([small.anomaly_map(normal[:8]), small.anomaly_map(fours[:8])]),
    (8, 8),
    cols=8,
    ax=ax,
)
plt.show()

# %% [markdown]
# Above, normal test digits: a few pixels here and there. Below, fours: the model is most surprised by the end of the
# stroke at the upper right, which the digits that it knows do not have there.

# %% [markdown]
# ## 5. When a likelihood misleads
#
# A density says how probable an example is. Is not that the best anomaly score there could be? Train VAEs on bits drawn
# with the grey values, one without fours and one without ones, and score by the negative ELBO.

# %%
bits = pb.data.load("digits", binarize="dynamic", seed=0)
generator = torch.Generator().manual_seed(0)
verdicts, beside, scores = {}, {}, {}
for label in (4, 1):
    known, judge, usual = without(label, bits)
    torch.manual_seed(0)
    vae = pb.VAE(64, latent_dim=8, hidden=128)
    vae.fit(known, valid=judge, epochs=effort(100), learning_rate=3e-3, schedule="cosine", **TRAIN)
    unknown = torch.bernoulli(strange(label), generator=generator)
    scores[label] = tuple(vae.anomaly_score(x, progress=False) for x in (usual, unknown))
    verdicts[label] = search.roc(*scores[label])
    _, _, grey = without(label, digits)
    reconstructing = small if label == 4 else anomaly_model(label)
    beside[label] = search.roc(reconstructing.anomaly_score(grey), reconstructing.anomaly_score(strange(label)))
    print(f"without {label}: VAE {verdicts[label]}, mean score of normal digits ", end="")
    print(f"{scores[label][0].mean():.1f} nats, of what was held out {scores[label][1].mean():.1f}")
    print(f"           the autoencoder of section 4 {beside[label]}")

# %% [markdown]
# The fours are found, though less well than by the autoencoder. The ones are not: their area is *below* 1/2, by more
# than two standard errors. The VAE never saw a one in training, and finds ones less strange than the digits that it was
# trained on. That is no mistake in the code, nor a badly trained model. Write
#
# $$-\log p(x) = \underbrace{-\log p^*(x)}_{\text{how much there is to say}}
# + \underbrace{\log p^*(x) - \log p(x)}_{\text{how badly the model says it}},$$
#
# where $p^*$ is the distribution that $x$ itself was drawn from. Only the second term is about being strange, and a
# score has both. Here $p^*$ is known in part: the bits of a digit were drawn from its grey values, and that alone costs
# the entropy $H = \sum_d h(\text{grey}_d)$ with $h(p) = -p \log p - (1 - p) \log (1 - p)$ on average.

# %%
every = torch.cat([part.tensor for part in digits])
classes = torch.cat([part.labels for part in digits])


def entropy(grey):
    return -(torch.xlogy(grey, grey) + torch.xlogy(1 - grey, 1 - grey)).sum(1)


print("entropy of the bits given the grey values, in nats:")
print("  ".join(f"{label}: {entropy(every[classes == label]).mean():.1f}" for label in range(10)))
corrected = {}
for label in (4, 1):
    grey = without(label, digits)[2].tensor, strange(label)
    corrected[label] = search.roc(*(score - entropy(x) for score, x in zip(scores[label], grey, strict=True)))
    print(f"without {label}: VAE {verdicts[label]}, less the entropy: {corrected[label]}")

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained", sharey=True)
for ax, name in zip(axes, ("negative ELBO, nats", "negative ELBO less the entropy, nats"), strict=True):
    for score, x, whose in zip(
        scores[1], (without(1, digits)[2].tensor, strange(1)), ("normal test digits", "ones, held out"), strict=True
    ):
        values = score - entropy(x) if "less" in name else score
        ax.hist(values, bins=30, range=(0, 40), density=True, alpha=0.6, label=whose)
    ax.set(xlabel=name)
axes[0].set_ylabel("density")
axes[0].legend()
plt.show()

# %% [markdown]
# Ones have by far the least entropy: their strokes are black on white, with few grey pixels. There is less to say about
# a one, so even a model that says it badly spends fewer nats. Less the entropy, the two histograms change places, and
# the area goes from well below 1/2 to well above; the fours gain too. So *a likelihood says how well an example can be
# coded, not whether it belongs*. The same happens to large models of photographs, which find pictures of house numbers
# less strange than the photographs that they were trained on (Nalisnick et al. 2019).
#
# Of real data nobody knows $p^*$. What stands in for it are the length of the compressed example (Serrà et al. 2020) or
# the likelihood of a cruder model (Ren et al. 2019). The autoencoder of section 4 does not fall into this trap, since
# its Normal likelihood has the same scale, and so the same entropy, for every pixel. It has a trap of its own:
# whatever is easy to reconstruct passes, as the 32 numbers showed.
#
# **Exercise 6.** Score by a likelihood *ratio*: subtract from the negative ELBO that of a background model that knows
# pixels but not digits (Ren et al. 2019). What does it do for the ones, and for the fours? *Hint: independent pixels,
# `p = known.tensor.mean(0)` and `F.binary_cross_entropy`; then an RBM with few hidden units.*
#
# **Exercise 7.** Hold out each class in turn and make a table of areas for the VAE, the autoencoder and probabilistic
# PCA, with standard errors. Which rows would you dare to rank? *Hint: models of different rows share the normal test
# digits, so their differences are less noisy than two separate errors suggest.*

# %% [markdown]
# ## What was measured

# %%
print("a deep autoencoder, squared error of test digits, 120 epochs of work")
for name in ("sigmoid, torch's weights", "sigmoid, rescaled", "sigmoid, by autoencoders"):
    print(f"   {name:36} {errors[name]:.2f}")
for name in ("ReLU, torch's weights", "ReLU, rescaled", "ReLU, by denoising"):
    print(f"   {name:36} {errors[name]:.2f}")
print("test error with 50 labels, with 200")
for name, (few, more) in labelled.items():
    print(f"   {name:36} {few:.1%}, {more:.1%}")
print("precision at 1, at 10, at 100")
for name, precision in precisions.items():
    shown = ", ".join(f"{precision.values[k - 1]:.3f}" for k in (1, 10, 100))
    print(f"   {name:36} {shown}")
print("area under the ROC curve, fours held out, ones held out")
for name, one in {"autoencoder, 4 numbers": beside, "VAE": verdicts, "VAE, less the entropy": corrected}.items():
    print(f"   {name:36} {float(one[4]):.3f}, {float(one[1]):.3f}")

# %% [markdown]
# What stays, in three sentences. Layerwise pretraining was a way to start a deep network, and weights of the right size
# are a shorter one; it earns its keep, if at all, where labels are few. A code becomes binary if the channel makes it,
# and then the search is nearly free. And a score of strangeness is as good as its question: ask how badly an example is
# reconstructed by what knows little else than normal ones, or take from a likelihood what the example itself costs.
#
# ## References
#
# - G. Hinton and R. Salakhutdinov (2006), *Reducing the dimensionality of data with neural networks*; Y. Bengio et al.
#   (2007), *Greedy layer-wise training of deep networks*; P. Vincent et al. (2010), *Stacked denoising autoencoders*.
# - D. Erhan et al. (2010), *Why does unsupervised pre-training help deep learning?*
# - X. Glorot and Y. Bengio (2010), *Understanding the difficulty of training deep feedforward neural networks*; K. He
#   et al. (2015), *Delving deep into rectifiers*, [arXiv 1502.01852](https://arxiv.org/abs/1502.01852). Initial
#   weights.
# - R. Salakhutdinov and G. Hinton (2009), *Semantic hashing*.
# - V. Vovk, A. Gammerman and G. Shafer (2005), *Algorithmic learning in a random world*; R. Laxhammar and G. Falkman
#   (2010), *Conformal prediction for distribution-independent anomaly detection*. The threshold.
# - E. DeLong, D. DeLong and D. Clarke-Pearson (1988), *Comparing the areas under two or more correlated receiver
#   operating characteristic curves*. The errors of areas.
# - E. Nalisnick et al. (2019), *Do deep generative models know what they don't know?*, [arXiv
#   1810.09136](https://arxiv.org/abs/1810.09136); J. Ren et al. (2019), *Likelihood ratios for out-of-distribution
#   detection*, [arXiv 1906.02845](https://arxiv.org/abs/1906.02845); J. Serrà et al. (2020), *Input complexity and
#   out-of-distribution detection with likelihood-based generative models*, [arXiv
#   1909.11480](https://arxiv.org/abs/1909.11480).
