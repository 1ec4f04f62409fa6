"""optimistix: least squares, roots, fixed points, minima; implicit gradients; failures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from report import report

jax.config.update("jax_enable_x64", True)

start = jnp.array([0.5, 0.3])


def residual(y, args):
    return jnp.stack([y[0] ** 2 + y[1] ** 2 - args, y[0] - y[1] ** 3, 0.1 * (y[0] + y[1])])


def equations(y, args):
    return {"circle": y[0] ** 2 + y[1] ** 2 - args, "curve": y[0] - y[1] ** 3}


def rosenbrock(y, args):
    return jnp.sum(args * (y[1:] - y[:-1] ** 2) ** 2 + (1 - y[:-1]) ** 2)


LEAST_SQUARES = {
    "LevenbergMarquardt": optx.LevenbergMarquardt(1e-9, 1e-9),
    "GaussNewton": optx.GaussNewton(1e-9, 1e-9),
    "Dogleg": optx.Dogleg(1e-9, 1e-9),
    "IndirectLevenbergMarquardt": optx.IndirectLevenbergMarquardt(1e-9, 1e-9),
}
MINIMISE = {
    "BFGS": optx.BFGS(1e-9, 1e-9),
    "LBFGS": optx.LBFGS(1e-9, 1e-9),
    "NelderMead": optx.NelderMead(1e-7, 1e-7),
    "NonlinearCG": optx.NonlinearCG(1e-7, 1e-7),
}
ROOTS = {
    "Newton": optx.Newton(1e-9, 1e-9),
    "Chord": optx.Chord(1e-9, 1e-9),
    "LevenbergMarquardt root": optx.LevenbergMarquardt(1e-9, 1e-9),
}


def of(problem, function, solver, start, **options):
    """Solution and steps, its derivative by the implicit function theorem, and a batch."""

    def solve(args):
        return problem(function, solver, start, args, max_steps=2000, **options)

    def total(args):
        return jnp.sum(solve(args).value)

    def both(args):
        solution = solve(args)
        return solution.value, solution.stats["num_steps"]

    return {
        "solution": eqx.filter_jit(both)(1.2),
        "grad": eqx.filter_jit(jax.grad(total))(1.2),
        "jvp": eqx.filter_jit(lambda x: jax.jvp(total, (x,), (1.0,)))(1.2),
        "vmap": eqx.filter_jit(jax.vmap(both))(jnp.array([1.1, 1.5, 2.0])),
    }


def through_the_steps(a):
    """The gradient of the iterations themselves, by a checkpointed loop."""
    solution = optx.root_find(
        lambda y, a: y**2 - a,
        optx.Newton(1e-9, 1e-9),
        jnp.array(1.0),
        a,
        adjoint=optx.RecursiveCheckpointAdjoint(),
    )
    return solution.value


class Fit(eqx.Module):
    rate: jax.Array
    scale: jax.Array
    name: str = eqx.field(static=True, default="decay")

    def __call__(self, t):
        return self.scale * jnp.exp(-self.rate * t)


def misfit(model, data):
    times, values = data
    return jax.vmap(model)(times) - values


with report() as numbers:
    for name, solver in LEAST_SQUARES.items():
        numbers[name] = of(optx.least_squares, residual, solver, start)
    for name, solver in MINIMISE.items():
        numbers[name] = of(optx.minimise, rosenbrock, solver, jnp.array([-0.4, 0.7, 0.2]))
    for name, solver in ROOTS.items():
        numbers[name] = of(optx.root_find, equations, solver, jnp.array([0.8, 0.9]))
    numbers["Bisection"] = of(
        optx.root_find,
        lambda y, a: y**3 - a,
        optx.Bisection(1e-9, 1e-9),
        jnp.array(1.0),
        options={"lower": 0.0, "upper": 3.0},
    )
    numbers["fixed point"] = of(
        optx.fixed_point,
        lambda y, a: jnp.cos(y) / a,
        optx.FixedPointIteration(1e-9, 1e-9),
        start,
    )
    numbers["golden"] = of(
        optx.minimise,
        lambda y, a: (y - a) ** 2 + 0.1 * jnp.sin(y),
        optx.GoldenSearch(1e-6, 1e-6),
        jnp.array(0.5),
        options={"lower": 0.0, "upper": 3.0},
    )
    numbers["through the steps"] = jax.value_and_grad(through_the_steps)(2.0)

    times = jnp.linspace(0, 2, 9)
    data = (times, 3 * jnp.exp(-0.7 * times))
    fit = Fit(jnp.array(1.0), jnp.array(1.0))
    best = optx.least_squares(misfit, optx.LevenbergMarquardt(1e-9, 1e-9), fit, data)
    numbers["model"] = best.value, best.stats["num_steps"]
    aux = optx.least_squares(
        lambda y, args: (residual(y, args), {"norm": y @ y}),
        LEAST_SQUARES["Dogleg"],
        start,
        1.2,
        has_aux=True,
    )
    numbers["aux"] = aux.aux

    few = optx.minimise(rosenbrock, MINIMISE["BFGS"], jnp.zeros(3), 100.0, max_steps=3, throw=False)
    numbers["max_steps"] = few.result == optx.RESULTS.nonlinear_max_steps_reached, few.value
    try:
        optx.minimise(rosenbrock, MINIMISE["BFGS"], jnp.zeros(3), 100.0, max_steps=3)
    except Exception as error:
        numbers["raises"] = "maximum number of steps" in str(error)
