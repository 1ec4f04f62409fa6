"""Train an ensemble of networks at once, by `filter_vmap`, and see where its members disagree.

    python examples/ensemble_moons.py

Every member has its own initial parameters, its own `BatchNorm` state and its own sample of the
data. All are trained by one compiled program, as arrays with one more axis.
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
from jaxtyping import Array, Float, Int, PRNGKeyArray
from sklearn.datasets import make_moons
from tqdm import tqdm

import equinoctial as eqx
from equinoctial import nn

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

TRAIN, TEST, BATCH = 200, 2000, 64
EACH = eqx.if_array(0)  # one for each member; all members share the non-array leaves

# --------------------------------------------------------------------------------------- one member


def make_member(key: PRNGKeyArray) -> nn.Sequential:
    keys = jax.random.split(key, 3)
    return nn.Sequential(
        [
            nn.Linear(2, 32, key=keys[0]),
            nn.BatchNorm(32, "batch", momentum=0.9, mode="batch", init_variance=1.0),
            jax.nn.silu,
            nn.Linear(32, 32, key=keys[1]),
            jax.nn.silu,
            nn.Linear(32, "scalar", key=keys[2]),
        ]
    )


def logits_of(member: nn.Sequential, state: nn.State, points: Float[Array, "n 2"]):
    call = jax.vmap(member, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return call(points, state)


def loss_fn(member: nn.Sequential, state: nn.State, points: Array, labels: Int[Array, " n"]):
    logits, state = logits_of(member, state, points)
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean(), state


# ------------------------------------------------------------------------------------- the ensemble


def make_step(optimiser: optax.GradientTransformation, points: Array, labels: Array):
    def one(member, state, memory, key, sample):
        chosen = jax.random.choice(key, sample, (BATCH,))
        differentiate = eqx.filter_value_and_grad(loss_fn, has_aux=True)
        (loss, state), gradients = differentiate(member, state, points[chosen], labels[chosen])
        parameters = eqx.filter(member, eqx.is_inexact_array)
        updates, memory = optimiser.update(gradients, memory, parameters)
        return eqx.apply_updates(member, updates), state, memory, loss

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=EACH), donate="all")


@eqx.filter_jit
def predict(members: nn.Sequential, states: nn.State, points: Float[Array, "n 2"]):
    """The probability of the second class, by each member: `(members, n)`."""

    def one(member, state):
        return jax.nn.sigmoid(logits_of(nn.inference_mode(member), state, points)[0])

    return eqx.filter_vmap(one, in_axes=EACH)(members, states)


def train(size: int, steps: int, points: Array, labels: Array, seed: int):
    """Members and states after the last step, and the losses `(steps, members)`."""
    key, *keys = jax.random.split(jax.random.key(seed), 3)
    members, states = eqx.filter_vmap(nn.make_with_state(make_member))(
        jax.random.split(keys[0], size)
    )
    optimiser = optax.adamw(optax.cosine_decay_schedule(1e-2, steps), weight_decay=1e-3)
    memory = eqx.filter_vmap(lambda m: optimiser.init(eqx.filter(m, eqx.is_inexact_array)))(members)
    # A bootstrap sample for each: as many points as there are, drawn with repetition.
    samples = jax.random.randint(keys[1], (size, len(points)), 0, len(points))
    step, losses = make_step(optimiser, points, labels), []
    for _ in tqdm(range(steps), unit="step", mininterval=0.5):
        key, subkey = jax.random.split(key)
        subkeys = jax.random.split(subkey, size)
        # `samples` is needed again, and what is donated is not: a copy goes in.
        own = jnp.copy(samples)
        members, states, memory, loss = step(members, states, memory, subkeys, own)
        losses.append(loss)
    return members, states, np.stack(losses)


def score(probability: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean negative log-likelihood and share that is right, over the last axis."""
    given = np.where(labels == 1, probability, 1 - probability)
    return -np.log(np.clip(given, 1e-7, 1)).mean(-1), (given > 0.5).mean(-1)


# ------------------------------------------------------------------------- the picture, and main


def draw(members, states, train, probability, test_labels, path: Path) -> None:
    points, labels = train
    first, second = np.meshgrid(np.linspace(-2.5, 3.5, 120), np.linspace(-2, 2.5, 120))
    grid = jnp.asarray(np.stack([first.ravel(), second.ravel()], 1), jnp.float32)
    on_grid = np.asarray(predict(members, states, grid))
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    mean, spread = (f(on_grid, axis=0).reshape(first.shape) for f in (np.mean, np.std))
    shown = left.contourf(first, second, mean, np.linspace(0, 1, 11), cmap="RdBu_r")
    for own in on_grid:
        left.contour(first, second, own.reshape(first.shape), [0.5], colors="k", linewidths=0.3)
    left.set_title("Mean probability; lines: where each member decides")
    figure.colorbar(shown, ax=left)
    shown = middle.contourf(first, second, spread, 10, cmap="magma")
    middle.set_title("How far the members disagree")
    figure.colorbar(shown, ax=middle)
    for axes in (left, middle):
        axes.scatter(*np.asarray(points).T, c=labels, cmap="RdBu_r", s=9, edgecolors="w", lw=0.4)
    sizes = np.arange(1, len(probability) + 1)
    growing = np.cumsum(probability, axis=0) / sizes[:, None]
    right.plot(sizes, score(growing, test_labels)[0], color="#4063a8", label="ensemble of so many")
    right.scatter(sizes, score(probability, test_labels)[0], s=10, color="#d9822b", label="member")
    right.set(xlabel="members", title="Negative log-likelihood of test points (nats)")
    right.legend()
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/ensemble"), help="where files go")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    points, labels = make_moons(TRAIN + TEST, noise=0.25, random_state=options.seed)
    points, labels = points.astype(np.float32), labels.astype(np.int32)
    given = jnp.asarray(points[:TRAIN]), jnp.asarray(labels[:TRAIN])

    start = time.perf_counter()
    members, states, losses = train(options.members, options.steps, *given, options.seed)
    print(f"{options.members} members in {time.perf_counter() - start:.1f} s,", end=" ")
    print(f"mean loss {losses[0].mean():.3f} at first and {losses[-1].mean():.3f} at last.")
    probability = np.asarray(predict(members, states, jnp.asarray(points[TRAIN:])))
    each = score(probability, labels[TRAIN:])
    together = score(probability.mean(0), labels[TRAIN:])
    for name, own, all_of_them in zip(("loss", "right"), each, together, strict=True):
        print(f"Test {name}: {all_of_them:.3f} together; alone {own.mean():.3f} on average.")
    file = options.out / "members.png"
    draw(members, states, given, probability, labels[TRAIN:], file)
    print(f"See {file}")
    if together[0] >= each[0].mean():
        print("error: the ensemble should predict better than its members do", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
