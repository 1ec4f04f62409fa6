"""Train a residual network with BatchNorm on scikit-learn's digits.

    python examples/resnet_digits.py

What `BatchNorm` keeps from one batch to the next is a `State`, handed on by value: through a scan
over the batches of an epoch, into inference, and into a file beside the model.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from digits_cnn import Data, Part, batches, load_data, score
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

import equinoctial as eqx
from equinoctial import nn

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

GOAL = 0.98  # the share of test digits that the default run has to get right
BATCH = 32

# --------------------------------------------------------------------------------------- the model


class ConvNorm(nn.StatefulLayer):
    """A convolution and a `BatchNorm`, whose shift stands in for the bias."""

    conv: nn.Conv2d
    norm: nn.BatchNorm

    def __init__(self, into: int, out: int, size: int, stride: int = 1, *, key: PRNGKeyArray):
        padding = size // 2
        self.conv = nn.Conv2d(into, out, size, stride, padding, use_bias=False, key=key)
        # `init_variance` makes inference exact from the first step on.
        self.norm = nn.BatchNorm(out, "batch", momentum=0.9, mode="batch", init_variance=1.0)

    def __call__(self, x: Array, state: nn.State, *, key: PRNGKeyArray | None = None):
        return self.norm(self.conv(x), state)


class Block(nn.StatefulLayer):
    """Two convolutions, to whose result the input is added."""

    first: ConvNorm
    second: ConvNorm
    shortcut: ConvNorm | None

    def __init__(self, into: int, out: int, stride: int, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.first = ConvNorm(into, out, 3, stride, key=keys[0])
        self.second = ConvNorm(out, out, 3, key=keys[1])
        same = into == out and stride == 1
        self.shortcut = None if same else ConvNorm(into, out, 1, stride, key=keys[2])

    def __call__(self, x: Array, state: nn.State, *, key: PRNGKeyArray | None = None):
        y, state = self.first(x, state)
        y, state = self.second(jax.nn.relu(y), state)
        if self.shortcut is not None:
            x, state = self.shortcut(x, state)
        return jax.nn.relu(x + y), state


def make_resnet(key: PRNGKeyArray) -> nn.Sequential:
    keys = jax.random.split(key, 5)
    return nn.Sequential(
        [
            ConvNorm(1, 16, 3, key=keys[0]),
            jax.nn.relu,
            Block(16, 16, 1, key=keys[1]),
            Block(16, 32, 2, key=keys[2]),
            Block(32, 64, 2, key=keys[3]),
            nn.AdaptiveAvgPool2d(1),
            jnp.ravel,
            nn.Linear(64, 10, key=keys[4]),
        ]
    )


def on_batch(model: nn.Sequential, state: nn.State, images: Float[Array, "n 1 h w"]):
    """Logits `(n, 10)`, and one new state: the axis "batch" is what `BatchNorm` averages over."""
    call = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return call(images, state)


# ------------------------------------------------------------------------------------ the training


def loss_fn(model: nn.Sequential, state: nn.State, images: Array, labels: Int[Array, " n"]):
    logits, state = on_batch(model, state, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), state


def make_epoch(optimiser: optax.GradientTransformation):
    def step(carry, batch: Part):
        model, state, memory = carry
        differentiate = eqx.filter_value_and_grad(loss_fn, has_aux=True)
        (loss, state), gradients = differentiate(model, state, *batch)
        parameters = eqx.filter(model, eqx.is_inexact_array)
        updates, memory = optimiser.update(gradients, memory, parameters)
        return (eqx.apply_updates(model, updates), state, memory), loss

    @eqx.filter_jit(donate="all")  # the old model, state and memory are overwritten
    def epoch(carry, stacked: Part):
        return eqx.filter_scan(step, carry, stacked)

    return epoch


@eqx.filter_jit
def predict(model: nn.Sequential, state: nn.State, images: Array) -> Array:
    """Logits by the running averages of the state, which needs no batch and changes nothing."""
    return on_batch(nn.inference_mode(model), state, images)[0]


def train(data: Data, epochs: int, seed: int):
    """Model and state after the last epoch, and what was measured after each."""
    model, state = nn.make_with_state(make_resnet)(jax.random.key(seed))
    steps = epochs * (len(data.train.labels) // BATCH)
    optimiser = optax.adamw(optax.cosine_onecycle_schedule(steps, 6e-3), weight_decay=1e-2)
    carry = model, state, optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    epoch, rng, history = make_epoch(optimiser), np.random.default_rng(seed), []
    with tqdm(range(epochs), unit="epoch") as bar:
        for _ in bar:
            parts = zip(*batches(data.train, BATCH, rng), strict=True)
            carry, losses = epoch(carry, Part(*map(np.stack, parts)))
            model, state, _ = carry
            logits = np.asarray(predict(model, state, data.validation.images))
            loss, accuracy = score(logits, data.validation.labels)
            measured = {"train": float(losses.mean()), "validation": loss, "accuracy": accuracy}
            history.append(measured)
            bar.set_postfix({name: f"{value:.3f}" for name, value in measured.items()})
    return model, state, history


# ------------------------------------------------------------------------- the picture, and main


def draw(history: list[dict[str, float]], accuracy: float, model, state, path: Path) -> None:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    figure.suptitle(f"Residual network with BatchNorm: {accuracy:.2%} of the test digits right")
    epochs = np.arange(1, len(history) + 1)
    for part, colour in (("train", "#4063a8"), ("validation", "#d9822b")):
        left.plot(epochs, [h[part] for h in history], color=colour, label=part)
    left.set(yscale="log", xlabel="epoch", ylabel="nats", title="Mean cross-entropy")
    left.legend()
    middle.plot(epochs, [h["accuracy"] for h in history], color="#d9822b", label="validation")
    middle.axhline(accuracy, color="0.35", linestyle="--", label="test, at the end")
    middle.set(xlabel="epoch", title="Share that is right, by running averages")
    middle.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    middle.legend(loc="lower right")
    norms = eqx.tree_select(model, nn.BatchNorm)
    for depth, norm in enumerate(norms.values(), start=1):
        mean, variance = state.get(norm.batch_state_index)
        right.scatter(mean, np.sqrt(variance), s=12, color=plt.cm.viridis(depth / len(norms)))
    right.set_title("State: one point a channel, brighter is deeper")
    right.set(xlabel="running mean", ylabel="root of the running variance")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/resnet"), help="where files go")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    data = load_data(None, options.seed)
    start = time.perf_counter()
    model, state, history = train(data, options.epochs, options.seed)
    logits = np.asarray(predict(model, state, data.test.images))
    _, accuracy = score(logits, data.test.labels)
    print(f"\nTrained in {time.perf_counter() - start:.1f} s. Test: {accuracy:.2%} right.")

    file = options.out / "model.safetensors"
    eqx.save(file, (model, state))
    skeleton = eqx.filter_eval_shape(nn.make_with_state(make_resnet), jax.random.key(0))
    loaded = eqx.load(file, skeleton)
    same = np.array_equal(predict(*loaded, data.test.images), logits)
    print(f"Model and state, saved and loaded, predict {'the same' if same else 'otherwise'}.")
    draw(history, accuracy, model, state, options.out / "training.png")
    print(f"See {options.out}: model.safetensors, training.png")
    too_low = options.epochs >= 12 and accuracy < GOAL
    if too_low:
        print(f"error: expected at least {GOAL:.0%} of the test digits right", file=sys.stderr)
    return 0 if same and not too_low else 1


if __name__ == "__main__":
    sys.exit(main())
