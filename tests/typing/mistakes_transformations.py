"""Mistakes that both checkers find. Each line has an ignore of each; one without use is an error.

`hatch run types` reads this with pyright and mypy; it is never run.
"""

import jax.numpy as jnp
from jax import Array

from filtered_transforms import (
    filter_checkpoint,
    filter_cond,
    filter_fori_loop,
    filter_grad,
    filter_jit,
    filter_scan,
    filter_vmap,
    filter_while_loop,
    partition,
    while_loop,
)
from pytree_module import Module


class Net(Module):
    weight: Array

    @filter_jit
    def jitted(self, x: Array) -> str:
        return "a"


def loss(net: Net, x: Array) -> Array:
    return net.weight @ x


net = Net(jnp.ones(2))
x = jnp.ones(2)

filter_jit(loss)(net, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
filter_jit(loss)(net)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
filter_jit(loss)(net, x, scale=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
_ = filter_jit(loss)(net, x).weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
filter_jit(loss, donate="al")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
filter_jit(loss, inlined=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
filter_jit(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
net.jitted("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
_ = net.jitted(x).shape  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

filter_grad(loss)(net, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
_ = filter_grad(loss)(net, x).bias  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
filter_grad(loss, holomorph=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
filter_vmap(loss)(net)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
filter_vmap(loss, axis_size="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
filter_checkpoint(loss)(x, net)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

partition(net)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
filter_cond(True, loss, loss, net)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
filter_while_loop(lambda c: True, lambda c: "b", 3)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
filter_scan(loss, net, x)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
filter_while_loop(lambda c: True, lambda c: c, x, kind="check")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
filter_fori_loop(0, 3, lambda i, c: c, x, checkpoints="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
while_loop(lambda c: True, lambda c: c, x, kind="check")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
