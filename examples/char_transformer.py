"""Train a character-level transformer on docstrings of installed packages, and let it write.

    python examples/char_transformer.py

Equal blocks are a `Stacked`, compiled once; positions are rotations (RoPE). Generation keeps keys
and values in a cache, and is compared with one that does not. From here downwards: the text, the
model, the training, the generation and `main`.
"""

import argparse
import inspect
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

import equinoctial as eqx

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

LENGTH, WIDTH, HEADS, BLOCKS, BATCH = 128, 64, 4, 4, 8
PROMPT = 32  # characters of the test text which the model continues up to `LENGTH`
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # printable ASCII
GOAL = 2.3  # nats a character that the default run has to reach; the frequencies alone give 3.1

# ---------------------------------------------------------------------------------------- the text


def load_text() -> np.ndarray:
    """The docstrings of NumPy's and JAX's functions, as numbers of characters."""
    docs = []
    for module in (np, np.linalg, jnp, jax.nn, optax):
        for name in sorted(vars(module)):
            value = getattr(module, name)
            if not name.startswith("_") and callable(value):
                docs.append(inspect.getdoc(value) or "")
    text = "\n".join(dict.fromkeys(docs))
    known = {character: i for i, character in enumerate(ALPHABET)}
    return np.array([known[c] for c in text if c in known], np.int32)


def as_text(tokens: Any) -> str:
    return "".join(ALPHABET[i] for i in np.asarray(tokens))


# --------------------------------------------------------------------------------------- the model


class Block(eqx.Module):
    """Attention, then a perceptron for each position; each adds to what comes in."""

    norm1: eqx.nn.RMSNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.RMSNorm
    mlp: eqx.nn.MLP
    rope: eqx.nn.RotaryPositionalEmbedding

    def __init__(self, key: PRNGKeyArray):
        key1, key2 = jax.random.split(key)
        self.norm1, self.norm2 = eqx.nn.RMSNorm(WIDTH), eqx.nn.RMSNorm(WIDTH)
        self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, num_kv_heads=2, key=key1)
        self.mlp = eqx.nn.MLP(WIDTH, WIDTH, 4 * WIDTH, 1, jax.nn.gelu, key=key2)
        self.rope = eqx.nn.RotaryPositionalEmbedding(WIDTH // HEADS)

    def __call__(self, x: Float[Array, "length width"], cache: Any = None) -> Any:
        """What follows on all that the cache has seen, and with a cache the next one."""
        offset = 0 if cache is None else cache.length
        turn = jax.vmap(lambda x: self.rope(x, offset=offset), in_axes=1, out_axes=1)  # each head
        rotate = lambda q, k, v: (turn(q), turn(k), v)  # noqa: E731
        y = jax.vmap(self.norm1)(x)
        y = self.attention(y, y, y, is_causal=True, process_heads=rotate, cache=cache)
        y, cache = (y, None) if cache is None else y
        x = x + y
        x = x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))
        return x if cache is None else (x, cache)


class Transformer(eqx.Module):
    embedding: eqx.nn.Embedding
    blocks: eqx.nn.Stacked
    norm: eqx.nn.RMSNorm
    readout: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        key1, key2, key3 = jax.random.split(key, 3)
        self.embedding = eqx.nn.Embedding(len(ALPHABET), WIDTH, key=key1)
        self.blocks = eqx.nn.Stacked(Block, BLOCKS, key=key2)
        self.norm = eqx.nn.RMSNorm(WIDTH)
        self.readout = eqx.nn.Linear(WIDTH, len(ALPHABET), key=key3)

    def __call__(self, tokens: Int[Array, "length"]) -> Float[Array, "length alphabet"]:
        x = self.blocks(jax.vmap(self.embedding)(tokens))
        return jax.vmap(self.readout)(jax.vmap(self.norm)(x))

    def init_caches(self, length: int) -> eqx.nn.KVCache:
        """An empty cache for each block, with a leading axis, as `blocks.layers` has it."""
        return eqx.filter_vmap(lambda block: block.attention.init_cache(length))(self.blocks.layers)

    def continued(self, tokens: Int[Array, "length"], caches: eqx.nn.KVCache) -> Any:
        """As `__call__`, of what follows on all that was given before; and the next caches."""
        x = jax.vmap(self.embedding)(tokens)
        x, caches = self.blocks(x, each={"cache": caches}, collect=True)
        return jax.vmap(self.readout)(jax.vmap(self.norm)(x)), caches


# ------------------------------------------------------------------------------------ the training


def losses(model: Transformer, windows: Int[Array, "n length+1"]) -> Float[Array, "n length"]:
    """The surprise at each next character, in nats."""
    logits = jax.vmap(model)(windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:])


def draw(text: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    starts = rng.integers(0, len(text) - LENGTH, count)
    return text[starts[:, None] + np.arange(LENGTH + 1)]


def train(model: Transformer, text: np.ndarray, steps: int, seed: int) -> Any:
    optimiser = optax.adamw(optax.cosine_decay_schedule(4e-3, steps))
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model: Transformer, state: Any, windows: Array) -> Any:
        loss = lambda model: losses(model, windows).mean()  # noqa: E731
        value, gradient = eqx.filter_value_and_grad(loss)(model)
        updates, state = optimiser.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, value

    rng, history = np.random.default_rng(seed), []
    with tqdm(total=steps, unit="step", mininterval=0.5) as bar:
        for i in range(steps):
            model, state, value = step(model, state, draw(text, BATCH, rng))
            history.append(value)
            bar.update()
            if i % 20 == 0:
                bar.set_postfix(loss=f"{float(value):.3f}")
    return model, [float(value) for value in history]


# ---------------------------------------------------------------------------------- the generation


def chosen(logits: Float[Array, "alphabet"], key: PRNGKeyArray) -> Int[Array, ""]:
    return jax.random.categorical(key, logits / 0.7).astype(jnp.int32)


@eqx.filter_jit
def generate(
    model: Transformer, prompt: Int[Array, "length"], count: int, key: PRNGKeyArray
) -> Any:
    """`count` further characters: each costs the model one character."""
    caches = model.init_caches(len(prompt) + count)
    logits, caches = model.continued(prompt, caches)

    def step(carry: Any, key: PRNGKeyArray) -> Any:
        logits, caches = carry
        token = chosen(logits, key)
        logits, caches = model.continued(token[None], caches)
        return (logits[-1], caches), token

    return jax.lax.scan(step, (logits[-1], caches), jax.random.split(key, count))[1]


@eqx.filter_jit
def generate_slowly(
    model: Transformer, prompt: Int[Array, "length"], count: int, key: PRNGKeyArray
) -> Any:
    """The same without a cache: each character costs the model the whole text."""
    text = jnp.zeros(len(prompt) + count, jnp.int32).at[: len(prompt)].set(prompt)

    def step(carry: Any, key: PRNGKeyArray) -> Any:
        text, last = carry
        # What comes after `last` is not seen, as attention is causal.
        token = chosen(model(text)[last], key)
        return (text.at[last + 1].set(token), last + 1), token

    start = (text, jnp.asarray(len(prompt) - 1))
    return jax.lax.scan(step, start, jax.random.split(key, count))[1]


def write(model: Transformer, text: np.ndarray, seed: int) -> None:
    """Continues three passages of a text, and tells what the cache saves."""
    count = LENGTH - PROMPT
    prompts = [jnp.asarray(text[1000 * i :][:PROMPT]) for i in range(3)]
    for i, prompt in enumerate(prompts):
        written = generate(model, prompt, count, jax.random.fold_in(jax.random.key(seed), i))
        print(f"{as_text(prompt)}|{as_text(written)}\n")
    arguments = (model, prompts[0], count, jax.random.key(seed))
    written, seconds = timed(generate, *arguments)
    again, slowly = timed(generate_slowly, *arguments)
    same = int(np.sum(np.cumprod(np.asarray(written == again))))
    print(
        f"{1e6 * seconds / count:.0f} us a character with a cache, {1e6 * slowly / count:.0f} us "
        f"without: {slowly / seconds:.1f} times as long. The first {same} of {count} are the same."
        f"\n"
    )


def timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    """What a function returns, and the seconds of its second call: the first one compiles."""
    jax.block_until_ready(function(*arguments))
    start = time.perf_counter()
    out = jax.block_until_ready(function(*arguments))
    return out, time.perf_counter() - start


# ------------------------------------------------------------------------- the pictures, and main


def draw_curve(history: list[float], test: float, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(history, color="#4063a8", linewidth=0.8, label="training, each batch")
    axes.axhline(test, color="0.35", linestyle="--", label=f"test, at the end: {test:.3f}")
    axes.set(xlabel="step", ylabel="nats a character", title="Learning to write documentation")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_surprise(window: np.ndarray, surprise: np.ndarray, path: Path) -> None:
    """A passage of the test text, each character on the colour of its surprise."""
    rows = (len(window) + 31) // 32
    figure, axes = plt.subplots(figsize=(12, 0.5 * rows + 1), layout="constrained")
    grid = np.full(rows * 32, np.nan)
    grid[: len(surprise)] = surprise
    image = axes.imshow(grid.reshape(rows, 32), cmap="YlOrRd", vmin=0, vmax=6, aspect="auto")
    for i, token in enumerate(window):
        shown = as_text([token]).replace("\n", "\\n").replace("$", r"\$")
        axes.text(i % 32, i // 32, shown, ha="center", va="center", family="monospace")
    axes.set(xticks=[], yticks=[], title="How surprised the model is at each character")
    figure.colorbar(image, label="nats")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, help="of training; default: 500")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/text"), help="where files go")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    text = load_text()
    cut = int(0.95 * len(text))
    print(f"{len(text):,} characters of documentation, the last 5% to test\n")
    model = Transformer(jax.random.key(options.seed))
    print(eqx.nn.summary(model, jnp.zeros(LENGTH, jnp.int32), depth=3), end="\n\n")

    start = time.perf_counter()
    model, history = train(model, text[:cut], options.steps or 500, options.seed)
    windows = draw(text[cut:], 64, np.random.default_rng(1))
    surprise = np.asarray(eqx.filter_jit(losses)(model, windows))
    test = float(surprise.mean())
    print(f"\nTrained in {time.perf_counter() - start:.1f} s. Test: {test:.3f} nats a character.\n")

    write(model, text[cut:], options.seed)
    draw_curve(history, test, options.out / "curve.png")
    draw_surprise(windows[0, 1:], surprise[0], options.out / "surprise.png")
    print(f"See {options.out}: curve.png, surprise.png")
    if options.steps is None and test > GOAL:
        print(f"error: {test:.3f} nats a character; expected at most {GOAL}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
