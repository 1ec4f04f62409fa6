"""diffrax: a neural ODE trains; adjoints, implicit solvers, SDEs, events, dense output, meters."""

import contextlib
import io

import diffrax as dx
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import optimistix as optx
from report import report

jax.config.update("jax_enable_x64", True)

CONTROL = dx.PIDController(rtol=1e-5, atol=1e-7)


class Field(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, t, y, args):
        return self.mlp(y)


class NeuralODE(eqx.Module):
    field: Field

    def __init__(self, key):
        self.field = Field(eqx.nn.MLP(2, 2, 16, 2, activation=jax.nn.softplus, key=key))

    def __call__(self, ts, y0):
        return dx.diffeqsolve(
            dx.ODETerm(self.field),
            dx.Tsit5(),
            ts[0],
            ts[-1],
            dt0=ts[1] - ts[0],
            y0=y0,
            stepsize_controller=dx.PIDController(rtol=1e-3, atol=1e-6),
            saveat=dx.SaveAt(ts=ts),
        ).ys


def train(steps):
    """Losses, and the model after so many steps of Adam."""
    ts = jnp.linspace(0, 2, 8)
    y0 = jax.random.normal(jax.random.key(1), (16, 2))
    turn = jnp.stack([jnp.cos(ts), jnp.sin(ts), -jnp.sin(ts), jnp.cos(ts)], -1).reshape(-1, 2, 2)
    target = jnp.einsum("tij,bj->bti", turn, y0)
    model = NeuralODE(jax.random.key(0))
    optimiser = optax.adam(1e-2)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_value_and_grad
    def loss(model):
        return jnp.mean((jax.vmap(model, in_axes=(None, 0))(ts, y0) - target) ** 2)

    @eqx.filter_jit
    def step(model, state):
        value, grads = loss(model)
        updates, state = optimiser.update(grads, state)
        return value, eqx.apply_updates(model, updates), state

    losses = []
    for _ in range(steps):
        value, model, state = step(model, state)
        losses.append(value)
    return jnp.stack(losses), eqx.filter(model, eqx.is_array)


def decay(t, y, rate):
    return -rate * y + 0.1 * jnp.sin(t)


def derivative(adjoint, solver):
    def total(rate):
        solution = dx.diffeqsolve(
            dx.ODETerm(decay),
            solver,
            0.0,
            1.0,
            0.1,
            jnp.array([1.0, 2.0]),
            args=rate,
            adjoint=adjoint,
            stepsize_controller=CONTROL,
            max_steps=64,
        )
        return solution.ys.sum()

    if isinstance(adjoint, dx.ForwardMode):
        return jax.jit(lambda x: jax.jvp(total, (x,), (1.0,)))(2.0)
    return jax.jit(jax.value_and_grad(total))(2.0)


def robertson(solver, *explicit):
    """A stiff problem of chemistry, with explicit terms beside if the solver takes them."""

    def rates(t, y, k):
        first = k[0] * y[0]
        second = k[1] * y[1] ** 2
        third = k[2] * y[1] * y[2]
        return jnp.stack([-first + third, first - second - third, second])

    terms = dx.MultiTerm(*explicit, dx.ODETerm(rates)) if explicit else dx.ODETerm(rates)
    return dx.diffeqsolve(
        terms,
        solver,
        0.0,
        1000.0,
        0.0002,
        jnp.array([1.0, 0.0, 0.0]),
        args=jnp.array([0.04, 3e7, 1e4]),
        saveat=dx.SaveAt(ts=jnp.array([0.0, 1.0, 10.0, 1000.0])),
        stepsize_controller=dx.PIDController(rtol=1e-6, atol=1e-9),
        max_steps=None,
    )


def stochastic(solver, term, **options):
    path = dx.VirtualBrownianTree(0.0, 1.0, tol=1e-2, shape=(2,), key=jax.random.key(3), **options)
    drift = dx.ODETerm(lambda t, y, args: -y)
    noise = term(lambda t, y, args: jnp.eye(2) * 0.3, path)
    return dx.diffeqsolve(
        dx.MultiTerm(drift, noise),
        solver,
        0.0,
        1.0,
        0.05,
        jnp.ones(2),
        saveat=dx.SaveAt(steps=True),
        max_steps=32,
    ).ys


def dense():
    solution = dx.diffeqsolve(
        dx.ODETerm(decay),
        dx.Dopri8(),
        0.0,
        1.0,
        0.1,
        jnp.ones(2),
        args=1.0,
        saveat=dx.SaveAt(t1=True, dense=True),
        stepsize_controller=CONTROL,
    )
    times = jnp.array([0.1, 0.35, 0.9])
    return jax.vmap(solution.evaluate)(times), jax.vmap(solution.derivative)(times)


def falls_to(height):
    """The time at which a falling ball meets the floor, and its derivative."""

    def land(start):
        return dx.diffeqsolve(
            dx.ODETerm(lambda t, y, args: jnp.stack([y[1], jnp.full((), -8.0)])),
            dx.Tsit5(),
            0.0,
            jnp.inf,
            0.1,
            jnp.stack([start, jnp.zeros(())]),
            stepsize_controller=CONTROL,
            event=dx.Event(lambda t, y, args, **more: y[0], root_finder=optx.Newton(1e-7, 1e-7)),
        ).ts[0]

    return jax.value_and_grad(land)(height)


def metered():
    """What a progress meter prints, up to the time it takes."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        solution = dx.diffeqsolve(
            dx.ODETerm(decay),
            dx.Euler(),
            0.0,
            1.0,
            0.01,
            jnp.ones(2),
            args=1.0,
            progress_meter=dx.TextProgressMeter(minimum_increase=0.2),
        )
        jax.block_until_ready(solution.ys)
        jax.effects_barrier()
    shown = [float(line.rstrip("%")) for line in out.getvalue().splitlines() if line.endswith("%")]
    return solution.ys, jnp.array(shown)


REVERSE = {
    "RecursiveCheckpointAdjoint": dx.RecursiveCheckpointAdjoint(),
    "few checkpoints": dx.RecursiveCheckpointAdjoint(checkpoints=3),
    "DirectAdjoint": dx.DirectAdjoint(),
    "ForwardMode": dx.ForwardMode(),
}

with report() as numbers:
    numbers["training"] = train(12)
    for name, adjoint in REVERSE.items():
        numbers[name] = derivative(adjoint, dx.Tsit5())
        numbers[f"{name}, implicit"] = derivative(adjoint, dx.Kvaerno5())
    numbers["BacksolveAdjoint"] = derivative(dx.BacksolveAdjoint(), dx.Tsit5())
    stiff = robertson(dx.Kvaerno3())
    numbers["stiff"] = stiff.ys, stiff.stats["num_steps"]
    stiff = robertson(dx.KenCarp4(), dx.ODETerm(lambda t, y, args: -1e-3 * y))
    numbers["stiff, implicit"] = stiff.ys, stiff.stats["num_rejected_steps"]
    numbers["Heun"] = stochastic(dx.Heun(), dx.ControlTerm)
    numbers["EulerHeun"] = stochastic(dx.EulerHeun(), dx.ControlTerm)
    numbers["SRA1"] = stochastic(dx.SRA1(), dx.ControlTerm, levy_area=dx.SpaceTimeLevyArea)
    numbers["dense"] = dense()
    numbers["event"] = falls_to(10.0)
    numbers["meter"] = metered()
    ts = jnp.linspace(0, 1, 6)
    ys = jnp.stack([jnp.sin(ts), ts**2], -1)
    control = dx.CubicInterpolation(ts, dx.backward_hermite_coefficients(ts, ys))
    numbers["CDE"] = dx.diffeqsolve(
        dx.ControlTerm(lambda t, y, args: jnp.outer(y, jnp.array([1.0, -0.5])), control).to_ode(),
        dx.Tsit5(),
        0.0,
        1.0,
        0.05,
        jnp.ones(2),
        stepsize_controller=CONTROL,
    ).ys
    few = dx.diffeqsolve(
        dx.ODETerm(decay),
        dx.Tsit5(),
        0.0,
        10.0,
        0.1,
        jnp.ones(2),
        args=1.0,
        max_steps=4,
        throw=False,
    )
    numbers["max_steps"] = few.result == dx.RESULTS.max_steps_reached, few.ys
    try:
        few = dx.diffeqsolve(
            dx.ODETerm(decay), dx.Tsit5(), 0.0, 10.0, 0.1, jnp.ones(2), args=1.0, max_steps=4
        )
        jax.block_until_ready(few.ys)
    except Exception as error:
        numbers["raises"] = "maximum number of solver steps" in str(error)
