"""A training loop, and every transformation on the way: what a type checker sees of each result.

`hatch run types` reads this with pyright and mypy; it is never run.
"""

from typing import assert_type

import jax
import jax.numpy as jnp
import optax
from jax import Array

from filtered_transforms import (
    combine,
    filter,
    filter_checkpoint,
    filter_closure_convert,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_hvp,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_make_jaxpr,
    filter_pmap,
    filter_shard,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    is_array,
    is_inexact_array,
    partition,
)
from pytree_module import Module
from tree_surgery import apply_updates


class Aux(Module):
    seen: int


class Net(Module):
    weight: Array

    def __call__(self, x: Array, *, scale: float = 1.0) -> Array:
        return self.weight @ x * scale

    @filter_jit
    def jitted(self, x: Array) -> str:
        return "a"

    @filter_jit(donate="all")
    def donating(self, x: Array) -> float:
        return 1.0

    @filter_jit
    @classmethod
    def of_class(cls, size: int) -> "Net":
        return cls(jnp.ones((size, size)))

    @classmethod
    @filter_jit
    def of_class_too(cls, size: int) -> "Net":
        return cls(jnp.ones((size, size)))

    @filter_jit
    @staticmethod
    def static(size: int) -> bytes:
        return bytes(size)

    @staticmethod
    @filter_jit
    def static_too(size: int) -> bytes:
        return bytes(size)

    @filter_vmap(in_axes=(None, 0))
    def mapped(self, x: Array) -> Array:
        return x

    @filter_grad
    def gradient(self, x: Array) -> Array:
        return x

    @filter_checkpoint
    def remat(self, x: Array) -> Array:
        return x

    @filter_custom_jvp
    def ruled(self, x: Array) -> Array:
        return x


def make(key: Array) -> Net:
    return Net(jax.random.normal(key, (2, 2)))


def step(net: Net, x: Array) -> tuple[Net, Array]:
    return net, x


def loss(net: Net, x: Array) -> Array:
    return net(x).sum()


def loss_with_aux(net: Net, x: Array, *, power: int = 2) -> tuple[Array, Aux]:
    return net(x).sum() ** power, Aux(1)


net = make(jax.random.key(0))
x = jnp.ones(2)
abstract = jax.ShapeDtypeStruct((2,), "float32")  # type: ignore[no-untyped-call]

# --- filter_jit

assert_type(filter_jit(step)(net, x), tuple[Net, Array])
assert_type(filter_jit(step)(net=net, x=x), tuple[Net, Array])
assert_type(filter_jit(donate="all")(step)(net, x), tuple[Net, Array])
assert_type(filter_jit(step, donate=("net",), inline=True)(net, x), tuple[Net, Array])
assert_type(filter_jit(step).lower(net, x).compile()(net, x), tuple[Net, Array])
assert_type(filter_jit(step).trace(net, x).lower().compile()(net, x), tuple[Net, Array])
assert_type(filter_jit(step).lower(net, abstract).as_text(), str)
assert_type(filter_jit(net)(x, scale=2.0), Array)
assert_type(filter_jit(Net)(x), Net)
assert_type(filter_jit(step).__name__, str)

assert_type(net.jitted(x), str)
assert_type(Net.jitted(net, x), str)
assert_type(net.jitted.lower(x).compile()(x), str)
assert_type(net.donating(x), float)
assert_type(net.of_class(3), Net)
assert_type(Net.of_class(3), Net)
assert_type(net.of_class_too(3), Net)
assert_type(Net.of_class_too(3), Net)
assert_type(net.static(3), bytes)
assert_type(Net.static(3), bytes)
assert_type(net.static_too(3), bytes)
assert_type(Net.static_too(3), bytes)
assert_type(net.mapped(x), Array)
assert_type(net.gradient(x), Net)
assert_type(net.remat(x), Array)
assert_type(net.ruled(x), Array)

# --- derivatives

assert_type(filter_grad(loss)(net, x), Net)
assert_type(filter_grad(wrt="weight")(loss)(net, x), Net)
assert_type(filter_grad(loss_with_aux, has_aux=True)(net, x, power=3), tuple[Net, Aux])
assert_type(filter_grad(has_aux=True)(loss_with_aux)(net, x), tuple[Net, Aux])
assert_type(filter_value_and_grad(loss)(net, x), tuple[Array, Net])
assert_type(filter_value_and_grad()(loss)(net, x), tuple[Array, Net])
assert_type(
    filter_value_and_grad(loss_with_aux, has_aux=True)(net, x), tuple[tuple[Array, Aux], Net]
)
assert_type(filter_grad(filter_jit(loss))(net, x), Net)
assert_type(filter_jit(filter_grad(loss))(net, x), Net)
assert_type(
    filter_jit(filter_value_and_grad(loss)).lower(net, x).compile()(net, x), tuple[Array, Net]
)

assert_type(filter_jvp(step, (net, x), (net, x)), tuple[tuple[Net, Array], tuple[Net, Array]])
out, pull = filter_vjp(step, net, x)
assert_type(out, tuple[Net, Array])
assert_type(pull(out), tuple[Net, Array])
out_with_aux, pull_with_aux, aux = filter_vjp(lambda net, x: (net(x), Aux(1)), net, x, has_aux=True)
assert_type(pull_with_aux(x), tuple[Net, Array])
assert_type(aux, Aux)
value, push = filter_linearize(loss, net, x)
assert_type(value, Array)
assert_type(push(net, x), Array)
assert_type(filter_jacfwd(loss)(net, x), Net)
assert_type(filter_jacrev(loss)(net, x), Net)
assert_type(filter_jacrev(loss_with_aux, has_aux=True)(net, x), tuple[Net, Aux])


def quadratic(x: Array) -> Array:
    return x @ x


assert_type(filter_hessian(quadratic)(x), Array)
assert_type(filter_hvp(loss, (net, x), (net, x)), tuple[tuple[Net, Array], tuple[Net, Array]])


@filter_custom_jvp
def norm(x: Array, name: str) -> tuple[Array, str]:
    return x, name


@norm.def_jvp
def norm_rule(primals: tuple[Array, str], tangents: tuple[Array, None]) -> tuple[object, object]:
    return norm(*primals), (tangents[0], None)


assert_type(norm(x, "x"), tuple[Array, str])
assert_type(norm_rule((x, "x"), (x, None)), tuple[object, object])


@filter_custom_vjp
def clip(x: Array, bound: float) -> Array:
    return x


assert_type(clip(x, 2.0), Array)

# --- maps, and functions as values

assert_type(filter_vmap(step)(net, x), tuple[Net, Array])
assert_type(filter_vmap(make)(jax.random.split(jax.random.key(0), 3)), Net)
assert_type(filter_vmap(in_axes=(None, 0), axis_name="batch")(loss)(net, x), Array)
assert_type(filter_pmap(step)(net, x), tuple[Net, Array])
assert_type(filter_pmap(donate="all")(step)(net, x), tuple[Net, Array])
assert_type(filter_checkpoint(step)(net, x), tuple[Net, Array])
assert_type(filter_checkpoint(prevent_cse=False)(step)(net, x), tuple[Net, Array])
assert_type(filter_closure_convert(step, net, x)(net, x), tuple[Net, Array])
assert_type(filter_eval_shape(make, jax.random.key(0)), Net)
assert_type(filter_eval_shape(Net, abstract), Net)
shapes = filter_make_jaxpr(step)(net, x)[1]

# --- trees

assert_type(partition(net, is_array), tuple[Net, Net])
assert_type(filter(net, is_inexact_array), Net)
assert_type(combine(net, net), Net)
assert_type(filter_shard(net, jax.devices()[0]), Net)


def shape_of(leaf: object) -> tuple[int, ...]:
    return leaf.shape if is_array(leaf) else ()


# --- a training loop

# optax declares a tree of parameters as arrays, and iterables and mappings of them: a module is
# none of these to a type checker, as `docs/typing.md` says.
optimiser = optax.adam(1e-3)
state = optimiser.init(filter(net, is_array))  # pyright: ignore[reportArgumentType]


@filter_jit
def train_step(net: Net, state: optax.OptState, x: Array) -> tuple[Net, optax.OptState, Array]:
    value, gradient = filter_value_and_grad(loss)(net, x)
    assert_type(gradient, Net)
    updates, state = optimiser.update(gradient, state)  # pyright: ignore[reportArgumentType]
    return apply_updates(net, updates), state, value


net, state, value = train_step(net, state, x)
assert_type(net, Net)
assert_type(value, Array)
