"""Train a small transformer over several processes: FSDP x tensor parallelism, killed and resumed.

    python examples/train_sharded.py                 # this process, with eight virtual devices
    python examples/train_sharded.py --demo          # the whole story, see `demo`

Every process runs this same program. On real machines, start it once on each with the address of
the first, `--coordinator host:port --processes N --process I`, or with none of these where JAX
finds them out by itself (SLURM, TPU pods): `--processes 0`. From here downwards: the data, the
model, the step, checkpoints, training and the demonstration.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import matplotlib as mpl
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PRNGKeyArray
from tqdm import tqdm

import equinoctial as eqx

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

LENGTH, WIDTH, HEADS, BLOCKS, BATCH, VOCABULARY = 16, 32, 4, 2, 16, 16
SAVE_EVERY = 10  # steps

# ---------------------------------------------------------------------------------------- the data


def sequence(step: int, row: int) -> np.ndarray:
    """A row of the batch of a step, the same in every run: each token is the sum of two before."""
    tokens = np.zeros(LENGTH, np.int32)
    tokens[:2] = np.random.default_rng((step, row)).integers(0, VOCABULARY, 2)
    for i in range(2, LENGTH):
        tokens[i] = (tokens[i - 1] + tokens[i - 2]) % VOCABULARY
    return tokens


def batches(mesh: Mesh, start: int, stop: int) -> Iterator[Array]:
    """Batches over the mesh. Each process makes the rows of its own devices, and no others."""
    sharding = NamedSharding(mesh, P("data"))
    for step in range(start, stop):

        def rows(index: tuple[slice, ...], step: int = step) -> np.ndarray:
            return np.stack([sequence(step, row) for row in range(*index[0].indices(BATCH))])

        yield jax.make_array_from_callback((BATCH, LENGTH), sharding, rows)


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
        self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=key1)
        self.mlp = eqx.nn.MLP(WIDTH, WIDTH, 4 * WIDTH, 1, jax.nn.gelu, key=key2)
        self.rope = eqx.nn.RotaryPositionalEmbedding(WIDTH // HEADS)

    def __call__(self, x: Array) -> Array:
        turn = jax.vmap(self.rope, in_axes=1, out_axes=1)  # each head
        rotate = lambda q, k, v: (turn(q), turn(k), v)  # noqa: E731
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y, is_causal=True, process_heads=rotate)
        return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))


class Transformer(eqx.Module):
    embedding: eqx.nn.Embedding
    blocks: eqx.nn.Stacked[Block]
    head: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        key1, key2, key3 = jax.random.split(key, 3)
        self.embedding = eqx.nn.Embedding(VOCABULARY, WIDTH, key=key1)
        self.blocks = eqx.nn.Stacked(Block, BLOCKS, key=key2)
        self.head = eqx.nn.Linear(WIDTH, VOCABULARY, key=key3)

    def __call__(self, tokens: Array) -> Array:
        """The logits of what follows each token."""
        return jax.vmap(self.head)(self.blocks(jax.vmap(self.embedding)(tokens)))


# ---------------------------------------------------------------------------------------- the step

RULES = eqx.fsdp("data", min_size=64, over=eqx.nn.tensor_parallel("model"))
OPTIMISER = optax.adamw(3e-3)


def loss_of(model: Transformer, tokens: Array) -> Array:
    logits = jax.vmap(model)(tokens[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


@eqx.filter_jit(donate=("model", "state"))
def update(model: Transformer, state: Any, tokens: Array) -> tuple[Transformer, Any, Array]:
    loss, grads = eqx.filter_value_and_grad(loss_of)(model, tokens)
    updates, state = OPTIMISER.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
    model = eqx.filter_shard(eqx.apply_updates(model, updates), RULES)
    return model, state, loss


def new_run() -> tuple[Transformer, Any]:
    """A model and its optimiser, each part made where it belongs."""
    model = eqx.filter_jit(Transformer, out_shardings=RULES)(jax.random.key(0))
    init = eqx.filter_jit(lambda model: OPTIMISER.init(eqx.filter(model, eqx.is_inexact_array)))
    return model, init(model)


# ------------------------------------------------------------------------- checkpoints and training


def latest(folder: Path) -> Path | None:
    """The last checkpoint that is whole: a file takes its name only when it is."""
    found = sorted(folder.glob("step-*.safetensors"))
    return found[-1] if found else None


def train(folder: Path, steps: int, model_axis: int, kill_at: int | None) -> list[float]:
    """Goes on from the last checkpoint up to `steps`, and returns the losses of the whole run."""
    shape = (jax.device_count() // model_axis, model_axis)
    if BATCH % shape[0]:
        raise SystemExit(f"{BATCH} sequences do not divide among {shape[0]} devices.")
    mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    is_first = jax.process_index() == 0
    with jax.set_mesh(mesh):
        model, state = new_run()
        losses: list[float] = []
        if (file := latest(folder)) is not None:
            model, state = eqx.load(file, (model, state))
            losses = eqx.peek(file).metadata["losses"]
            if is_first:
                print(f"Goes on from {file.name}, on {jax.device_count()} devices.")
        todo = batches(mesh, len(losses), steps)
        for tokens in tqdm(todo, initial=len(losses), total=steps, disable=not is_first):
            model, state, loss = update(model, state, tokens)
            losses.append(float(loss))  # the same number in every process
            if len(losses) % SAVE_EVERY == 0:
                if kill_at == len(losses):
                    die_while_saving()
                name = folder / f"step-{len(losses):05d}"
                eqx.save(name, (model, state), metadata={"losses": losses})
    return losses


def die_while_saving() -> None:
    """Makes this process be killed in the next `save`: all is written but the name."""

    def die(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = die


def end_the_job(folder: Path) -> NoReturn:
    """Says what has happened, and ends this process at once, by which the others end, too.

    A process that has died is an error in the next sum over all. To leave in the ordinary way would
    be to wait for it.
    """
    traceback.print_exc()
    file = latest(folder)
    print(
        f"Process {jax.process_index()} of {jax.process_count()} ends, and so does the job. The "
        f"error may be that of another process, or that one has died: look at what each has "
        f"printed. The same command goes on from {file.name if file else 'the beginning'}.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def draw(losses: list[float], others: dict[str, list[float]], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(losses, label="this run", linewidth=4, alpha=0.4)
    for name, curve in others.items():
        axes.plot(curve, label=name, linewidth=1)
    axes.set(xlabel="step", ylabel="loss (nats a token)")
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)


# ---------------------------------------------------------------------------------- the whole story


def launch(folder: Path, steps: int, processes: int, devices: int, *more: str) -> list[Any]:
    """Starts the processes of one job on this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, __file__, "--folder", str(folder), "--steps", str(steps), *more]
    command += ["--devices", str(devices)]
    if processes > 1:
        command += ["--coordinator", address, "--processes", str(processes)]
    env = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    each = [["--process", str(i)] if processes > 1 else [] for i in range(processes)]
    return [subprocess.Popen(command + own, env=env) for own in each]


def finish(jobs: list[Any], timeout: float = 300) -> list[int]:
    """Waits for the processes of a job; nobody is left behind."""
    end = time.monotonic() + timeout
    try:
        return [job.wait(max(end - time.monotonic(), 1)) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def demo(out: Path, steps: int) -> None:
    """One process with eight devices; two with four each, killed in a save; then one with four.

    The run that was killed goes on with the curve of the one that was not.
    """
    alone, shared = out / "alone", out / "shared"
    assert finish(launch(alone, steps, 1, 8)) == [0]
    codes = finish(launch(shared, steps, 2, 4, "--kill-at", str(2 * SAVE_EVERY)), timeout=120)
    assert codes[0] == -signal.SIGKILL and codes[1] != 0, codes
    print(f"Killed while step {2 * SAVE_EVERY} was saved; there is {latest(shared).name}.")
    assert finish(launch(shared, steps, 1, 4)) == [0]
    curves = [json.loads((folder / "losses.json").read_text()) for folder in (alone, shared)]
    difference = np.abs(np.subtract(*curves)).max()
    draw(curves[1], {"one process, never stopped": curves[0]}, out / "curves.png")
    print(f"{steps} steps; loss {curves[0][0]:.3f} to {curves[0][-1]:.3f}.")
    print(f"Killed and resumed on other devices: the curves differ by {difference:.1e} at most.")
    assert difference < 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small transformer over processes.")
    parser.add_argument("--demo", action="store_true", help="tell the whole story")
    parser.add_argument("--folder", type=Path, default=Path("out/sharded"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument(
        "--model-axis", type=int, default=2, help="devices for each part of a matrix"
    )
    parser.add_argument("--devices", type=int, help="virtual devices of the CPU in this process")
    parser.add_argument("--coordinator", help="host:port of the first process")
    parser.add_argument("--processes", type=int, default=1, help="0: JAX finds out by itself")
    parser.add_argument("--process", type=int, help="the number of this process, from 0")
    parser.add_argument(
        "--timeout", type=int, default=100, help="seconds until a process that is silent is dead"
    )
    parser.add_argument("--kill-at", type=int, help="the step at which process 0 is killed")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.demo:
        return demo(options.folder, options.steps)

    if options.devices:
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.processes == 0:
        jax.distributed.initialize()
    elif options.processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            options.coordinator,
            options.processes,
            options.process,
            heartbeat_timeout_seconds=options.timeout,
        )
    kill_at = options.kill_at if jax.process_index() == 0 else None
    try:
        losses = train(options.folder, options.steps, options.model_axis, kill_at)
    except Exception:
        if jax.process_count() > 1:
            end_the_job(options.folder)
        raise
    if jax.process_index() == 0:
        (options.folder / "losses.json").write_text(json.dumps(losses))
        draw(losses, {}, options.folder / "curve.png")
        print(f"Loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps.")
    return None


if __name__ == "__main__":
    main()
