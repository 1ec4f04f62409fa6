"""`plan`: what a program will need of each device, before there are any."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from filtered_transforms import filter_jit, is_array
from tree_surgery import tree_shardings
from tree_surgery.extend import public

from ._flops import flops_of
from ._hlo import Instruction, bytes_of, scheduled
from ._plan_report import ITSELF, Collective, LargeArray, Plan
from ._signature import parameter_names

_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
# What stores nothing of its own.
_NO_ARRAYS = frozenset(
    {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"}
    | {"call", "after-all", "partition-id", "opt-barrier"}
)
_STRUCTURE = re.compile(
    r"while|body|cond|closed_call|checkpoint|remat\w*|custom_[jv][vj]p_call|branch_\d+_fun|shard_map|eval_jaxpr"
)
_LARGEST = 10


@public
def plan(
    step: Callable[..., object], /, *args: object, devices: int | None = None, **kwargs: object
) -> Plan:
    """What a step needs of each device, by compiling it; nothing is computed.

    For a program on devices that are not there: describe the arrays by shape, dtype and sharding on
    a `jax.sharding.AbstractMesh`. JAX then compiles for as many virtual devices of the CPU. It is
    started with them (`jax_num_cpu_devices`), if nothing was computed before. What is said of
    memory is what XLA's CPU compiler allots: collectives and parts are those of other devices,
    fusion is less good, and products of bfloat16 are made in float32 there.

    **Arguments:**

    - `step`: a function, jitted or not; or a program that was compiled by
        `filter_jit(f).lower(...).compile()`, without further arguments.
    - `*args`, `**kwargs`: its arguments; of arrays a `jax.ShapeDtypeStruct` suffices, with a
        sharding on a mesh of devices or on a `jax.sharding.AbstractMesh`.
    - `devices`: how many devices there are meant to be: a check of what the shardings say.

    **Returns:** a `Plan`. `print` it, or look at its attributes.

    **Raises:**

    - `RuntimeError` if JAX has started with fewer devices; it says how to get them.
    - `ValueError` if the shardings are for another number of devices, or on several meshes;
        `tree_surgery.ShardingError`, which is one, if a dimension does not divide: it says how
        much is missing.
    - `TypeError` for arguments beside a compiled program, and for one that is only lowered.

    ```python
    import jax
    import jax.numpy as jnp
    from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec as P
    from runtime_checks.debug import plan

    mesh = AbstractMesh((1,), ("data",))
    x = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    w = jax.ShapeDtypeStruct((32, 32), jnp.float32, sharding=NamedSharding(mesh, P()))
    found = plan(lambda w, x: jnp.tanh(x @ w), w, x, devices=1)
    assert found.arguments == {"w": 4096, "x": 8192} and found.flops == 2 * 64 * 32 * 32
    ```
    """
    if hasattr(step, "memory_analysis"):
        if args or kwargs:
            raise TypeError("`plan` of a compiled program takes no arguments: it has its own.")
        return _checked(_plan_of(step, {}, None), devices)
    if hasattr(step, "compile") and not hasattr(step, "trace"):
        raise TypeError(f"`plan` takes a compiled program: call `.compile()` of this {type(step)}.")
    names = parameter_names(step)
    mesh, (step, args, kwargs) = _on_devices((step, args, kwargs))
    names += [f"args[{i}]" for i in range(len(names), len(args))]
    given = [(ITSELF, step), *zip(names, args, strict=False), *kwargs.items()]
    sizes = {name: size for name, arg in given if (size := _bytes_on_each(name, arg))}
    is_jitted = hasattr(step, "trace") and hasattr(step, "lower")
    program: Any = step if is_jitted else filter_jit(step)
    with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
        traced = program.trace(*args, **kwargs)
        compiled = traced.lower().compile()
    return _checked(_plan_of(compiled, sizes, traced.jaxpr), devices)


def _checked(found: Plan, devices: int | None) -> Plan:
    if devices is not None and devices != found.devices:
        raise ValueError(
            f"`plan` was told of {devices} devices, and the shardings of the arguments are for "
            f"{found.devices}. Give the arrays shardings on a mesh of {devices} devices."
        )
    return found


def _plan_of(compiled: Any, arguments: Mapping[str, int], jaxpr: Any) -> Plan:
    memory = compiled.memory_analysis()
    instructions = list(scheduled(compiled.as_text()))
    flops, is_exact = (None, True) if jaxpr is None else flops_of(jaxpr)
    shardings = jtu.tree_leaves((compiled.input_shardings, compiled.output_shardings))
    return Plan(
        devices=max((len(sharding.device_set) for sharding in shardings), default=1),
        arguments=arguments,
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        donated_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        flops=flops,
        collectives=_collectives(instructions),
        largest=_largest(instructions),
        is_exact=is_exact and all(i.is_exact for i in instructions if _kind(i) is not None),
    )


def _on_devices(tree: Any) -> tuple[Mesh | None, Any]:
    """The arguments with an abstract mesh made real; and that mesh, `None` if there was none."""
    leaves, treedef = jtu.tree_flatten(tree)
    shardings = [getattr(leaf, "sharding", None) for leaf in leaves]
    meshes = {sharding.mesh for sharding in shardings if isinstance(sharding, NamedSharding)}
    if not any(isinstance(mesh, AbstractMesh) for mesh in meshes):
        return None, tree
    if len({tuple(mesh.shape.items()) for mesh in meshes}) > 1:
        raise ValueError(f"`plan` takes arrays on one mesh, and these are on {meshes}.")
    mesh = _virtual(next(mesh for mesh in meshes if isinstance(mesh, AbstractMesh)))

    def move(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(sharding, NamedSharding):
            return leaf
        return jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, sharding.spec)
        )

    return mesh, treedef.unflatten(map(move, leaves))


def _virtual(mesh: AbstractMesh) -> Mesh:
    """The mesh, of real or of virtual devices."""
    if _asked_for() < mesh.size:
        with contextlib.suppress(RuntimeError):  # JAX takes it until it has started
            jax.config.update("jax_num_cpu_devices", mesh.size)
    there = jax.devices()
    if len(there) < mesh.size:
        there = jax.devices("cpu")
    if len(there) < mesh.size:
        raise RuntimeError(
            f"The plan is for {mesh.size} devices, and JAX has started with {len(there)}. Call "
            f"`jax.config.update('jax_num_cpu_devices', {mesh.size})` before anything is computed, "
            f"or set the environment variable "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={mesh.size}."
        )
    devices = np.array(there[: mesh.size]).reshape(mesh.axis_sizes)
    return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)


def _asked_for() -> int:
    """How many devices of the CPU JAX has, or is to start with."""
    configured: int = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]  (set by JAX)
    flag = re.search(r"host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    return max(configured, int(flag.group(1)) if flag else 1)


def _bytes_on_each(name: str, tree: Any) -> int:
    total = 0
    for path, leaf in jtu.tree_leaves_with_path(tree):
        if is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct):
            sharding, shape = getattr(leaf, "sharding", None), tuple(leaf.shape)
            if isinstance(sharding, NamedSharding):
                # An error tells the path of what does not divide, and how much is missing.
                where = f"{name}{jtu.keystr(path)}"
                tree_shardings({where: leaf}, [("**", sharding.spec)], sharding.mesh)
            shape = shape if sharding is None else sharding.shard_shape(shape)
            total += (int(np.prod(shape, dtype=np.int64)) * _bits(leaf.dtype) + 7) // 8
    return total


def _bits(dtype: Any) -> int:
    """Of one element on a device, where small ones are packed: two of `int4` take a byte."""
    if jnp.issubdtype(dtype, jnp.integer):
        return int(jnp.iinfo(dtype).bits)
    if jnp.issubdtype(dtype, jnp.floating):
        return int(jnp.finfo(dtype).bits)
    return 8 * int(dtype.itemsize)


def _kind(instruction: Instruction) -> str | None:
    """The kind of collective that an instruction starts."""
    kind = instruction.opcode.removesuffix("-start")
    return kind if kind in _COLLECTIVES else None


def _collectives(instructions: Iterable[Instruction]) -> tuple[Collective, ...]:
    sizes: dict[str, int] = {}
    found: dict[tuple[str, str], Collective] = {}
    for instruction in instructions:
        sizes[instruction.name] = instruction.bytes
        kind = _kind(instruction)
        if kind is None:
            continue
        operands = sum(sizes.get(name, 0) for name in instruction.operands)
        results = instruction.bytes - operands * instruction.opcode.endswith("-start")
        handled = max(operands, results) * instruction.times
        key = kind, module_path(instruction.op_name)
        before = found.get(key, Collective(*key, 0, 0))
        found[key] = Collective(*key, before.count + instruction.times, before.bytes + handled)
    return tuple(sorted(found.values(), key=lambda c: (-c.bytes, c.kind, c.where)))


def _largest(instructions: Iterable[Instruction]) -> tuple[LargeArray, ...]:
    made = [
        (bytes_of(*array), array, instruction)
        for instruction in instructions
        if instruction.opcode not in _NO_ARRAYS and not instruction.opcode.endswith("-start")
        for array in instruction.arrays
    ]
    made.sort(key=lambda one: -one[0])
    return tuple(
        LargeArray(size, *array, module_path(i.op_name), i.opcode)
        for size, array, i in made[:_LARGEST]
    )


def module_path(op_name: str) -> str:
    """The modules in XLA's name of an operation, such as `Stacked/MLP/Linear`.

    `pytree_module` names a scope for each module that is called. What JAX adds goes: functions
    that are jitted, loops, branches, and the operation itself. `(backward)` where it is a
    derivative in reverse mode.
    """
    parts, is_backward = [], False
    # XLA writes `common/(one/rest:other/rest)` for an operation that it has made of several.
    common, several, _ = op_name.partition("/(")
    names = re.split(r"/(?![^(]*\))", common)
    for part in names if several else names[:-1]:
        while wrapped := re.fullmatch(r"(\w+)\((.*)\)", part):
            is_backward = is_backward or wrapped.group(1) == "transpose"
            part = "" if wrapped.group(1) in ("jit", "pjit") else wrapped.group(2)
        if part and not _STRUCTURE.fullmatch(part):
            parts.append(part)
    return "/".join(parts) + " (backward)" * is_backward
