"""Train an LSTM to add two marked numbers in a sequence of up to forty.

    python examples/rnn_adding.py

The adding problem of Hochreiter and Schmidhuber (1997): each element is a number in [0, 1] and a
mark; two elements are marked, and the answer is the sum of their numbers. Sequences have different
lengths and are padded. To answer 1 always has a mean squared error of 1/6. From here downwards: the
task, the model, the training and `main`.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from tqdm import tqdm

import equinoctial as eqx

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

LONGEST, HIDDEN, BATCH = 40, 48, 64
GOAL = 0.02  # the mean squared error that the default run has to reach

# ---------------------------------------------------------------------------------------- the task


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences `(count, LONGEST, 2)`, masks that are False at the padding, and sums."""
    lengths = rng.integers(LONGEST // 2, LONGEST + 1, count)
    masks = np.arange(LONGEST)[None] < lengths[:, None]
    numbers = rng.uniform(size=(count, LONGEST)).astype(np.float32)
    marks = np.zeros((count, LONGEST), np.float32)
    for row, length in zip(marks, lengths, strict=True):
        row[rng.choice(length, 2, replace=False)] = 1
    return np.stack([numbers, marks], -1), masks, (numbers * marks).sum(1)


# --------------------------------------------------------------------------------------- the model


class Adder(eqx.Module):
    rnn: eqx.nn.RNN
    readout: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        key1, key2 = jax.random.split(key)
        self.rnn = eqx.nn.RNN(eqx.nn.LSTMCell(2, HIDDEN, key=key1), return_sequences=False)
        self.readout = eqx.nn.Linear(HIDDEN, "scalar", key=key2)

    def __call__(self, xs: Float[Array, "length 2"], mask: Bool[Array, "length"]) -> Array:
        return self.readout(self.rnn(xs, mask=mask))


# ------------------------------------------------------------------------------------ the training


def loss_fn(model: Adder, xs: Array, masks: Array, sums: Array) -> Float[Array, ""]:
    return jnp.mean(jnp.square(jax.vmap(model)(xs, masks) - sums))


def train(model: Adder, steps: int, seed: int) -> tuple[Adder, list[float]]:
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(1e-2, steps))
    )
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model: Adder, state: Any, batch: Any) -> Any:
        loss, gradient = eqx.filter_value_and_grad(loss_fn)(model, *batch)
        updates, state = optimiser.update(gradient, state)
        return eqx.apply_updates(model, updates), state, loss

    rng, history = np.random.default_rng(seed), []
    with tqdm(total=steps, unit="step", mininterval=0.5) as bar:
        for i in range(steps):
            model, state, loss = step(model, state, draw(BATCH, rng))
            history.append(loss)
            bar.update()
            if i % 50 == 0:
                bar.set_postfix(loss=f"{float(loss):.4f}")
    return model, [float(loss) for loss in history]


# ------------------------------------------------------------------------- the pictures, and main


def draw_curve(history: list[float], test: float, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(history, color="#4063a8", linewidth=0.8, label="training, each batch")
    axes.axhline(1 / 6, color="#c0392b", linestyle=":", label="always to answer 1")
    axes.axhline(test, color="0.35", linestyle="--", label=f"test, at the end: {test:.4f}")
    axes.set(xlabel="step", ylabel="mean squared error", yscale="log", title="Adding two numbers")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_memory(model: Adder, xs: np.ndarray, mask: np.ndarray, total: float, path: Path) -> None:
    """What the memory holds while the sequence goes by: it changes at the marked elements."""
    rnn = eqx.tree_replace(model.rnn, return_sequences=True)
    hidden = np.asarray(rnn(jnp.asarray(xs), mask=jnp.asarray(mask)))
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(11, 6), sharex=True, height_ratios=(1, 3), layout="constrained"
    )
    marked = xs[:, 1] == 1
    top.bar(np.arange(LONGEST), xs[:, 0] * mask, color=np.where(marked, "#c0392b", "0.8"))
    answer = float(model(jnp.asarray(xs), jnp.asarray(mask)))
    top.set(title=f"The two marked numbers add up to {total:.3f}; the answer is {answer:.3f}")
    bottom.imshow(hidden.T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    bottom.set(xlabel="element (grey at the end: padding)", ylabel="hidden state")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, help="of training; default: 1500")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/adding"), help="where files go")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    model = Adder(jax.random.key(options.seed))
    print(eqx.nn.summary(model, jnp.ones((LONGEST, 2)), jnp.ones(LONGEST, bool)), end="\n\n")
    start = time.perf_counter()
    model, history = train(model, options.steps or 1500, options.seed)
    xs, masks, sums = draw(1000, np.random.default_rng(options.seed + 1))
    test = float(eqx.filter_jit(loss_fn)(model, xs, masks, sums))
    print(f"\nTrained in {time.perf_counter() - start:.1f} s. Test: mean squared error {test:.5f}.")
    draw_curve(history, test, options.out / "curve.png")
    draw_memory(model, xs[0], masks[0], sums[0], options.out / "memory.png")
    print(f"See {options.out}: curve.png, memory.png")
    if options.steps is None and test > GOAL:
        print(f"error: a squared error of {test:.4f}; expected at most {GOAL}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
