"""`plan` against arithmetic by hand, and against collectives that are written out."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_jit, filter_scan
from pytree_module import Module
from runtime_checks.debug import plan
from runtime_checks.debug._hlo import bits_of, scheduled
from runtime_checks.debug._plan import module_path

MESH = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
N = 16


def struct(*shape: int, spec: Any = None, dtype: Any = jnp.float32, mesh: Any = MESH) -> Any:
    sharding = None if spec is None else NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


COPIED = P()


def in_shards(f: Any, out: Any = COPIED) -> Callable[..., Any]:
    return jax.shard_map(f, mesh=MESH, in_specs=P("data"), out_specs=out, check_vma=False)


def repeated(f: Any, n: int) -> Callable[..., Any]:
    """`n` times in a row, each of which needs the one before."""
    return lambda x: filter_scan(lambda c, _: (f(c), None), x, length=n)[0]


PSUM = lambda x: x + jax.lax.psum(x, "data") / 7  # noqa: E731
COLLECTIVES = {
    # function of (2, N) floats over two devices -> {kind: (count, bytes on each device)}
    "none": (in_shards(lambda x: x * 2, P("data")), {}),
    "psum": (in_shards(lambda x: jax.lax.psum(x, "data")), {"all-reduce": (1, 4 * N)}),
    "in a loop": (in_shards(repeated(PSUM, 5), P("data")), {"all-reduce": (5, 20 * N)}),
    "in two loops": (
        in_shards(repeated(repeated(PSUM, 3), 4), P("data")),
        {"all-reduce": (12, 48 * N)},
    ),
    "gather": (
        in_shards(lambda x: jax.lax.all_gather(x, "data", tiled=True)),
        {"all-gather": (1, 8 * N)},
    ),
    "scatter": (
        in_shards(lambda x: jax.lax.psum_scatter(x[0], "data", tiled=True), P("data")),
        {"reduce-scatter": (1, 4 * N)},
    ),
    "permute": (
        in_shards(lambda x: jax.lax.ppermute(x, "data", [(0, 1), (1, 0)]), P("data")),
        {"collective-permute": (1, 4 * N)},
    ),
    "branches": (
        in_shards(lambda x: jax.lax.cond(x[0, 0] > 0, PSUM, lambda x: PSUM(3 * x), x), P("data")),
        {"all-reduce": (2, 8 * N)},
    ),
    "by the compiler": (lambda x: x.sum(0), {"all-reduce": (1, 4 * N)}),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives(name: str):
    f, expected = COLLECTIVES[name]
    found = plan(f, struct(2, N, spec=P("data")))
    assert {c.kind: (c.count, c.bytes) for c in found.collectives} == expected
    assert found.devices == 2 and found.is_exact == (name != "branches")


def test_a_loop_of_unknown_length_counts_once_and_says_so():
    def f(x: Any) -> Any:
        return jax.lax.while_loop(lambda x: x.sum() < 100, lambda x: x @ x, x)

    found = plan(f, struct(N, N))
    assert found.flops == 2 * N**3 and not found.is_exact
    assert "unknown length" in str(found)


def conv(x: Any, w: Any) -> Any:
    return jax.lax.conv_general_dilated(x, w, (2, 2), "VALID", feature_group_count=2)


FLOPS: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "matrices": (jnp.matmul, (struct(3, N, 5), struct(5, 7)), 2 * 3 * N * 5 * 7),
    "batched": (
        lambda a, b: jnp.einsum("bik,bkj->bij", a, b),
        (struct(3, N, 5), struct(3, 5, 7)),
        2 * 3 * N * 5 * 7,
    ),
    # 2x3 outputs of 6 channels, each from 2 channels in its group, 3x3 elements.
    "convolution": (conv, (struct(1, 4, 5, 7), struct(6, 2, 3, 3)), 2 * 2 * 3 * 6 * 2 * 9),
    "jitted twice": (
        lambda x: jax.jit(jnp.matmul)(x, jax.jit(jnp.matmul)(x, x)),
        (struct(N, N),),
        4 * N**3,
    ),
    "scan": (repeated(lambda x: x @ x, 6), (struct(N, N),), 12 * N**3),
    "branches": (
        lambda x: jax.lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: x @ x @ x),
        (struct(N, N),),
        4 * N**3,
    ),
    "ragged": (
        jax.lax.ragged_dot,
        (struct(N, 5), struct(3, 5, 7), struct(3, dtype=jnp.int32)),
        2 * N * 5 * 7,
    ),
    "gradient": (jax.grad(lambda w, x: (x @ w).sum()), (struct(5, 7), struct(N, 5)), 2 * N * 5 * 7),
    "in shards": (
        in_shards(lambda x: x @ x.T, P("data")),
        (struct(2 * N, 5, spec=P("data")),),
        2 * 2 * N * N * 5,
    ),
}


@pytest.mark.parametrize("name", FLOPS)
def test_arithmetic(name: str):
    f, args, expected = FLOPS[name]
    found = plan(f, *args)
    if name == "gradient":  # XLA leaves out the product whose result nobody reads
        expected *= 2
    assert found.flops == expected and found.is_exact == (name != "branches")


def test_memory_is_that_of_the_compiled_program():
    def step(model: Any, batch: Any, name: str) -> Any:
        return jax.tree.map(lambda w: w - jnp.tanh(batch @ w).sum(), model)

    model = {"w": struct(N, 8, spec=P("data")), "b": struct(N, 8, spec=P())}
    args = model, struct(4, N, spec=P(None, "data")), "name"
    program = filter_jit(step, donate=("model",))
    found = plan(program, *args, devices=2)
    assert found.arguments == {"model": 4 * (N * 8 // 2 + N * 8), "batch": 4 * 4 * N // 2}
    assert found.argument_bytes == sum(found.arguments.values())
    assert found.donated_bytes == found.arguments["model"]
    compiled = program.lower(*args).compile()
    memory = compiled.memory_analysis()
    assert found.temporary_bytes == memory.temp_size_in_bytes
    assert found.total_bytes == (
        found.argument_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    again = plan(compiled)
    assert again.collectives == found.collectives and again.total_bytes == found.total_bytes
    assert again.arguments == {} and again.flops is None


class Inner(Module):
    w: Any

    def __call__(self, x: Any) -> Any:
        return jnp.tanh(x @ self.w)


class Outer(Module):
    inner: Inner

    def __call__(self, x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (self.inner(c), None), x, length=3)[0]


def test_places_are_modules():
    model, x = Outer(Inner(struct(N, N, spec=P("data")))), struct(64, N, spec=P())
    found = plan(lambda model, x: model(x), model, x)
    assert {c.where for c in found.collectives} == {"Outer/Inner"}
    assert found.largest[0].bytes == 4 * 64 * N and found.largest[0].shape == (64, N)
    gradient = plan(jax.grad(lambda model, x: model(x).sum()), model, x)
    assert "Outer/Inner (backward)" in {c.where for c in gradient.collectives}
    for word in ("Outer/Inner", "model  ", "devices", "FLOPs", "all-"):
        assert word in str(gradient)
    root = ET.fromstring(gradient.svg())
    assert len(root.findall("{*}rect")) >= 2 * 3 and "2 devices" in "".join(root.itertext())


@pytest.mark.parametrize(
    ("op_name", "expected"),
    [
        ("jit(step)/jvp(Net)/jit(silu)/Linear/dot_general", "Net/Linear"),
        ("jit(f)/transpose(jvp(vmap(Net)))/while/body/closed_call/A/add", "Net/A (backward)"),
        ("jit(f)/A/cond/branch_1_fun/B/mul", "A/B"),
        ("jit(f)/A/(B/add:C/mul)", "A"),
        ("jit(f)/mul", ""),
        ("x", ""),
        ("", ""),
    ],
)
def test_module_paths(op_name: str, expected: str):
    assert module_path(op_name) == expected


def test_sizes_of_elements():
    for dtype, name in (
        ("bool", "pred"),
        ("bfloat16", "bf16"),
        ("complex64", "c64"),
        ("int8", "s8"),
    ):
        text = jax.jit(lambda x: x).lower(jnp.zeros(3, dtype)).compile().as_text()
        sizes = {i.bytes for i in scheduled(text) if i.arrays and i.arrays[0][0] == name}
        assert sizes == {3 * jnp.zeros(1, dtype).nbytes} and bits_of(name) % 8 == 0
    assert [bits_of(name) for name in ("f8e4m3fn", "s4", "c128", "token")] == [8, 4, 128, 0]


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int8", "bool", "float16", "complex64"])
def test_arguments_are_counted_as_the_compiler_does(dtype: str):
    found = plan(lambda x: x[::-1], jax.ShapeDtypeStruct((100, 7), dtype))
    assert found.arguments == {"x": found.argument_bytes}
    assert found.largest[0].bytes == found.output_bytes


def test_each_result_of_an_instruction_is_an_array():
    """A sort of two arrays has two results."""
    both = lambda x, y: jax.lax.sort((x, y), num_keys=1)  # noqa: E731
    found = plan(both, struct(3000), jax.ShapeDtypeStruct((3000,), jnp.int32))
    largest = [(one.dtype, one.shape, one.bytes) for one in found.largest if one.opcode == "sort"]
    assert ("f32", (3000,), 12_000) in largest and ("s32", (3000,), 12_000) in largest


def test_errors():
    with pytest.raises(ValueError, match="told of 4 devices, .* are for 2"):
        plan(lambda x: x + 1, struct(2, N, spec=P("data")), devices=4)
    meshes = [AbstractMesh((n,), ("data",)) for n in (1, 2)]
    args = [struct(2, N, spec=P("data"), mesh=mesh) for mesh in meshes]
    with pytest.raises(ValueError, match="takes arrays on one mesh"):
        plan(jnp.add, *args)
    with pytest.raises(ValueError, match="takes arrays on one mesh"):
        plan(jnp.add, args[0], struct(2, N, spec=P("data")))
    uneven = [{"tokens": struct(3, N, spec=P("data"))}]
    with pytest.raises(
        ValueError, match=r"batch\[0\].*tokens.* into 2 .*1 elements are missing to 4"
    ):
        plan(lambda batch: batch[0]["tokens"] + 1, uneven)
    lowered = jax.jit(lambda x: x).lower(1.0)
    with pytest.raises(TypeError, match="call `.compile\\(\\)`"):
        plan(lowered)
    with pytest.raises(TypeError, match="takes no arguments"):
        plan(lowered.compile(), 1.0)
    with pytest.raises(ValueError, match="told of 7 devices"):
        plan(lowered.compile(), devices=7)
    large = AbstractMesh((4096,), ("data",))
    with pytest.raises(RuntimeError, match="4096 devices, and JAX has started with 2.*jax_num_cpu"):
        plan(lambda x: x, struct(4096, spec=P("data"), mesh=large))


def test_a_step_has_arrays_of_its_own():
    step = Inner(struct(N, N, spec=P("data"), mesh=AbstractMesh((2,), ("data",))))
    found = plan(step, struct(64, N))
    assert found.arguments == {"the step itself": 2 * N * N, "x": 4 * 64 * N}
    assert found.devices == 2 and "of which" not in str(found)


def test_what_nothing_uses():
    found = plan(lambda x, y: x * 2, struct(N), struct(1000))
    assert "without 4 kB that nothing uses" in str(found)
    bars = ET.fromstring(found.svg()).findall("{*}rect")
    assert all(float(b.get("x", 0)) + float(b.get("width", 0)) <= 640 for b in bars)


def test_devices_that_are_not_there():
    program = """
import jax, jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec as P
from runtime_checks.debug import plan
mesh = AbstractMesh((8, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
x = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=NamedSharding(mesh, P("data", "model")))
w = jax.ShapeDtypeStruct((32, 16), jnp.float32, sharding=NamedSharding(mesh, P("model")))
print(plan(lambda x, w: jax.lax.with_sharding_constraint(x @ w, P("data")), x, w, devices=32))
small = AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,))
plan(lambda x: x, jax.ShapeDtypeStruct((4,), "f4", sharding=NamedSharding(small, P("data"))))
assert len(jax.devices()) == 32
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # Nobody is left with fewer devices than he has asked for.
    few = program.partition("mesh =")[0] + program[program.index("small =") :]
    few = "import jax\njax.config.update('jax_num_cpu_devices', 32)\n" + few
    again = subprocess.run([sys.executable, "-c", few], capture_output=True, text=True, timeout=99)
    assert again.returncode == 0, again.stderr
    # Each device adds its part of the sum: 8 rows of 16 numbers.
    assert "32 devices; on each of them:\n  x   " in done.stdout
    assert f"all-reduce x1  {8 * 16 * 4} B" in done.stdout


def test_the_arrays_of_a_numpy_batch():
    found = plan(lambda x: x * 2, np.ones((4, N), np.float32))
    assert found.arguments == {"x": 16 * N} and found.devices == 1 and not found.collectives
