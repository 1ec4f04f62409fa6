"""Train a convolutional network on hand-written digits, save it, load it back, and prove it equal.

    python examples/digits_cnn.py                  # scikit-learn's 1,797 digits, no download
    python examples/digits_cnn.py --mnist FOLDER   # the four files of MNIST instead

From here downwards: the data, the model, the training, the evaluation, saving and `main`.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import digits_figures
import jax
import jax.numpy as jnp
import numpy as np
import optax
from idx import IdxError, read_pair
from jaxtyping import Array, Float, Int, PRNGKeyArray
from sklearn.datasets import load_digits
from tqdm import tqdm

import equinoctial as eqx

GOAL = 0.97  # the share of test digits that the default run has to get right
EVALUATION_BATCH = 256

# ---------------------------------------------------------------------------------------- the data


class Part(NamedTuple):
    """Images scaled to [0, 1], with an axis for the one channel, and their labels."""

    images: Float[np.ndarray, "n 1 height width"]
    labels: Int[np.ndarray, "n"]


class Data(NamedTuple):
    train: Part
    validation: Part
    test: Part


def as_part(images: np.ndarray, labels: np.ndarray, brightest: int) -> Part:
    scaled = images.astype(np.float32)[:, None] / np.float32(brightest)
    return Part(scaled, labels.astype(np.int32))


def split(part: Part, share: float, rng: np.random.Generator) -> tuple[Part, Part]:
    """Two parts, drawn at random; the second has this share of the examples, at least one."""
    order = rng.permutation(len(part.labels))
    cut = len(order) - max(1, round(share * len(order)))
    first, second = order[:cut], order[cut:]
    return (
        Part(part.images[first], part.labels[first]),
        Part(part.images[second], part.labels[second]),
    )


def load_data(mnist: Path | None, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    if mnist is None:
        digits = load_digits()
        rest, test = split(as_part(digits.images, digits.target, brightest=16), 0.2, rng)
    else:
        rest = as_part(*read_pair(mnist, "train"), brightest=255)
        test = as_part(*read_pair(mnist, "t10k"), brightest=255)
    train, validation = split(rest, 0.1, rng)
    return Data(train, validation, test)


def batches(part: Part, size: int, rng: np.random.Generator) -> Iterator[Part]:
    """One epoch in random order. What is left over after the last full batch is dropped."""
    order = rng.permutation(len(part.labels))
    for i in range(len(order) // size):
        chosen = order[i * size : (i + 1) * size]
        yield Part(part.images[chosen], part.labels[chosen])


# --------------------------------------------------------------------------------------- the model


class CNN(eqx.Module):
    """Two convolutions see the image; two affine maps decide. One image in, ten logits out."""

    features: eqx.nn.Sequential
    classifier: eqx.nn.Sequential

    def __init__(self, height: int, width: int, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.features = eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(1, 16, kernel_size=3, padding="SAME", key=keys[0]),
                jax.nn.relu,
                eqx.nn.Conv2d(16, 32, kernel_size=3, padding="SAME", key=keys[1]),
                jax.nn.relu,
                eqx.nn.MaxPool2d(kernel_size=2, stride=2),
            ]
        )
        self.classifier = eqx.nn.Sequential(
            [
                eqx.nn.Lambda(jnp.ravel),
                eqx.nn.Dropout(0.25),
                eqx.nn.Linear(32 * (height // 2) * (width // 2), 64, key=keys[2]),
                eqx.nn.LayerNorm(64),
                jax.nn.relu,
                eqx.nn.Dropout(0.25),
                eqx.nn.Linear(64, 10, key=keys[3]),
            ]
        )

    def __call__(
        self, image: Float[Array, "1 height width"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "10"]:
        return self.classifier(self.features(image), key=key)


# ------------------------------------------------------------------------------------ the training


def loss_fn(
    model: CNN, images: Float[Array, "n 1 height width"], labels: Int[Array, "n"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """The mean cross-entropy. Layers take one example: `vmap` makes a batch of it."""
    logits = jax.vmap(model)(images, jax.random.split(key, len(images)))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def make_step(optimiser: optax.GradientTransformation):
    @eqx.filter_jit
    def step(model: CNN, state: optax.OptState, batch: Part, key: PRNGKeyArray):
        loss, gradients = eqx.filter_value_and_grad(loss_fn)(model, *batch, key)
        updates, state = optimiser.update(gradients, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, loss

    return step


def train(
    model: CNN, data: Data, epochs: int, batch_size: int, seed: int
) -> tuple[CNN, list[dict[str, float]]]:
    """The trained model, and what was measured after each epoch."""
    batch_size = min(batch_size, len(data.train.labels))
    steps = epochs * (len(data.train.labels) // batch_size)
    optimiser = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=1e-3)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    step = make_step(optimiser)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    history = []
    with tqdm(total=steps, unit="step", mininterval=0.5) as bar:
        for epoch in range(1, epochs + 1):
            bar.set_description(f"epoch {epoch}/{epochs}")
            for batch in batches(data.train, batch_size, rng):
                key, subkey = jax.random.split(key)
                # Nothing here waits for a result, so Python prepares the next batch meanwhile.
                model, state, _ = step(model, state, batch, subkey)
                bar.update()
            measured = {"epoch": epoch}
            for name, part in (("train", data.train), ("validation", data.validation)):
                loss, accuracy = score(predict(model, part.images), part.labels)
                measured |= {f"{name} loss": loss, f"{name} accuracy": accuracy}
            history.append(measured)
            bar.set_postfix(
                loss=f"{measured['train loss']:.3f}",
                val_loss=f"{measured['validation loss']:.3f}",
                val_accuracy=f"{measured['validation accuracy']:.1%}",
            )
    return model, history


# ---------------------------------------------------------------------------------- the evaluation


@eqx.filter_jit
def predict_batch(model: CNN, images: Float[Array, "n 1 height width"]) -> Float[Array, "n 10"]:
    return jax.vmap(model)(images)


def predict(model: CNN, images: Float[np.ndarray, "n 1 height width"]) -> np.ndarray:
    """Logits `(n, 10)` without dropout. The last batch is filled up: one size compiles once."""
    model = eqx.nn.inference_mode(model)
    logits = []
    for start in range(0, len(images), EVALUATION_BATCH):
        batch = images[start : start + EVALUATION_BATCH]
        missing = EVALUATION_BATCH - len(batch)
        filled = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
        logits.append(np.asarray(predict_batch(model, filled))[: len(batch)])
    return np.concatenate(logits)


def score(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return float(loss), float((logits.argmax(axis=1) == labels).mean())


# -------------------------------------------------------------------------------- saving, and main


def check_round_trip(model: CNN, path: Path, images: np.ndarray) -> list[str]:
    """Saves the model, loads it into a fresh skeleton, and says what is not the same."""
    eqx.save(path, model)
    # The skeleton is the structure of the model, with shapes for arrays: nothing is initialised.
    skeleton = eqx.filter_eval_shape(CNN, *images.shape[2:], key=jax.random.key(0))
    loaded = eqx.load(path, skeleton)
    faults = []
    if not eqx.tree_equal(model, loaded, typematch=True):
        faults.append("a leaf of the loaded model differs")
    if not np.array_equal(predict(model, images), predict(loaded, images)):
        faults.append("the predictions of the loaded model differ")
    return faults


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    def positive(text: str) -> int:
        if (value := int(text)) < 1:
            raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
        return value

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="folder of MNIST's four files")
    parser.add_argument("--epochs", type=positive, help="default: 30, or 3 with --mnist")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of the split, the model, the training")
    parser.add_argument("--out", type=Path, default=Path("out/digits"), help="where files go")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        data = load_data(options.mnist, options.seed)
    except (FileNotFoundError, IdxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    sizes = ", ".join(f"{len(part.labels):,} {name}" for name, part in data._asdict().items())
    height, width = data.train.images.shape[2:]
    print(f"{'MNIST' if options.mnist else 'Digits'}: {sizes}; {height} x {width} pixels\n")

    model = CNN(height, width, key=jax.random.key(options.seed))
    print(eqx.nn.summary(model, data.test.images[0], key=jax.random.key(0)), end="\n\n")
    start = time.perf_counter()
    epochs = options.epochs or (3 if options.mnist else 30)
    model, history = train(model, data, epochs, options.batch_size, options.seed)
    logits = predict(model, data.test.images)
    loss, accuracy = score(logits, data.test.labels)
    seconds = time.perf_counter() - start
    print(f"\nTrained in {seconds:.1f} s. Test: loss {loss:.3f}, {accuracy:.2%} right.")

    faults = check_round_trip(model, options.out / "model.safetensors", data.test.images)
    if not faults:
        print("Saved, loaded into a fresh skeleton: every leaf and prediction is the same.")
    digits_figures.draw_curve(history, accuracy, options.out / "curve.png")
    digits_figures.draw_predictions(*data.test, logits, options.out / "predictions.png")
    print(f"See {options.out}: model.safetensors, curve.png, predictions.png")
    if options.epochs is None and accuracy < GOAL:
        faults.append(f"{accuracy:.2%} of the test digits are right; expected at least {GOAL:.0%}")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
