"""One process of `ecosystem.py`: traces, compiles and runs a typical program of one library.

`python [-m equinoctial.as_equinox] ecosystem_cases.py CASE` prints seconds, wall and CPU, as JSON.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

Case = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function to be compiled, made anew so that nothing of it is cached; and its arguments."""


def lineax_case() -> Case:
    """A batch of solves by three solvers, with the gradient."""
    import lineax as lx

    matrix = jax.random.normal(jax.random.key(0), (16, 16))
    matrix = matrix @ matrix.T + 16 * jnp.eye(16)
    vectors = jax.random.normal(jax.random.key(1), (8, 16))
    tag = lx.positive_semidefinite_tag
    solvers = (lx.CG(1e-5, 1e-5), lx.LU(), lx.QR(), lx.GMRES(1e-4, 1e-4))

    def total(matrix: jax.Array, vectors: jax.Array) -> jax.Array:
        def solve(vector: jax.Array) -> Any:
            operator = lx.MatrixLinearOperator(matrix, tag)
            return [lx.linear_solve(operator, vector, solver).value for solver in solvers]

        return sum(jnp.sum(x**2) for x in jax.vmap(solve)(vectors))

    return jax.value_and_grad(total), (matrix, vectors)


class Decay(eqx.Module):
    """Two exponentials."""

    rates: jax.Array
    scales: jax.Array

    def __call__(self, t: jax.Array) -> jax.Array:
        return jnp.sum(self.scales * jnp.exp(-self.rates * t))


def optimistix_case() -> Case:
    """A model fitted by Levenberg-Marquardt, a minimum by BFGS and a root by Newton's method, with
    implicit gradients."""
    import optimistix as optx

    times = jnp.linspace(0, 2, 64)
    start = Decay(jnp.array([0.5, 3.0]), jnp.array([1.0, 1.0]))

    def fit(data: jax.Array) -> jax.Array:
        found = optx.least_squares(
            lambda model, data: jax.vmap(model)(times) - data,
            optx.LevenbergMarquardt(1e-4, 1e-4),
            start,
            data,
            throw=False,
        )
        low = optx.minimise(
            lambda y, args: jnp.sum((y[1:] - y[:-1] ** 2) ** 2 + (args - y[:-1]) ** 2),
            optx.BFGS(1e-4, 1e-4),
            jnp.zeros(4),
            found.value.rates[0],
            throw=False,
        )
        root = optx.root_find(
            lambda y, args: y**3 + y - args,
            optx.Newton(1e-5, 1e-5),
            jnp.ones(4),
            low.value,
            throw=False,
        )
        return jnp.sum(root.value) + jnp.sum(found.value.scales)

    data = 2 * jnp.exp(-0.7 * times) + 0.5 * jnp.exp(-4 * times)
    return jax.value_and_grad(fit), (data,)


class Field(eqx.Module):
    """The right-hand side of a neural ODE."""

    mlp: eqx.nn.MLP

    def __call__(self, t: Any, y: jax.Array, args: Any) -> jax.Array:
        return self.mlp(y)


def train_step(loss: Callable[..., jax.Array], model: Any, *data: Any) -> Case:
    """One step of Adam."""
    optimiser = optax.adam(1e-3)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    def step(model: Any, state: Any, *data: Any) -> Any:
        value, grads = eqx.filter_value_and_grad(loss)(model, *data)
        updates, state = optimiser.update(grads, state)
        return value, eqx.apply_updates(model, updates), state

    return step, (model, state, *data)


def diffrax_case() -> Case:
    """A training step of a neural ODE: adaptive steps, checkpointed gradients, a batch of 32."""
    import diffrax as dx

    field = Field(eqx.nn.MLP(2, 2, 32, 2, activation=jax.nn.softplus, key=jax.random.key(0)))
    ts = jnp.linspace(0, 2, 16)

    def loss(field: Field, y0: jax.Array) -> jax.Array:
        def solve(y0: jax.Array) -> jax.Array:
            found = dx.diffeqsolve(
                dx.ODETerm(field),
                dx.Tsit5(),
                0.0,
                2.0,
                0.1,
                y0,
                saveat=dx.SaveAt(ts=ts),
                stepsize_controller=dx.PIDController(rtol=1e-4, atol=1e-6),
            )
            return found.ys

        return jnp.mean(jax.vmap(solve)(y0) ** 2)

    return train_step(loss, field, jax.random.normal(jax.random.key(1), (32, 2)))


def stiff_case() -> Case:
    """The gradient of a stiff solve, by an implicit method."""
    import diffrax as dx

    def total(k: jax.Array) -> jax.Array:
        def rates(t: Any, y: jax.Array, k: jax.Array) -> jax.Array:
            a, b, c = k[0] * y[0], k[1] * y[1] ** 2, k[2] * y[1] * y[2]
            return jnp.stack([c - a, a - b - c, b])

        found = dx.diffeqsolve(
            dx.ODETerm(rates),
            dx.Kvaerno5(),
            0.0,
            100.0,
            0.001,
            jnp.array([1.0, 0.0, 0.0]),
            args=k,
            stepsize_controller=dx.PIDController(rtol=1e-4, atol=1e-6),
            throw=False,
        )
        return jnp.sum(found.ys**2)

    return jax.value_and_grad(total), (jnp.array([0.04, 3e3, 1e1]),)


def flowjax_case() -> Case:
    """A training step of a masked autoregressive flow."""
    from flowjax.distributions import StandardNormal
    from flowjax.flows import masked_autoregressive_flow

    flow = masked_autoregressive_flow(
        jax.random.key(0), base_dist=StandardNormal((3,)), flow_layers=4, nn_width=16
    )

    def loss(flow: Any, x: jax.Array) -> jax.Array:
        return -jnp.mean(flow.log_prob(x))

    return train_step(loss, flow, jax.random.normal(jax.random.key(1), (128, 3)))


CASES = {
    "lineax": lineax_case,
    "optimistix": optimistix_case,
    "diffrax": diffrax_case,
    "diffrax-stiff": stiff_case,
    "flowjax": flowjax_case,
}


def timed(call: Callable[[], Any]) -> tuple[Any, list[float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, [time.perf_counter() - wall, time.process_time() - cpu]


def run_many(call: Callable[[], Any], seconds: float) -> list[float]:
    """The time of one call: the fastest of nine runs of as many calls as fill a ninth."""
    jax.block_until_ready(call())
    _, (once, _) = timed(lambda: jax.block_until_ready(call()))
    number = max(1, int(seconds / 9 / max(once, 1e-6)))

    def many() -> None:
        for _ in range(number):
            jax.block_until_ready(call())

    runs = [timed(many)[1] for _ in range(9)]
    return [min(column) / number for column in zip(*runs, strict=True)]


def lower(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, list[float]]:
    gc.collect()
    return timed(lambda: eqx.filter_jit(function).lower(*args))


def measure(name: str) -> dict[str, list[float]]:
    """First trace of the process, the next (the least of three), compilation, and run."""
    build = CASES[name]
    _, first = lower(*build())
    again: list[list[float]] = []
    made = [build() for _ in range(3)]
    for case in made:
        lowered, seconds = lower(*case)
        again.append(seconds)
    _, compiled = timed(lowered.compile)
    function, args = made[-1]
    jitted = eqx.filter_jit(function)
    return {
        "first trace": first,
        "trace": [min(column) for column in zip(*again, strict=True)],
        "compile": compiled,
        "run": run_many(lambda: jitted(*args), 1.0),
    }


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    print(json.dumps(measure(sys.argv[1])))
