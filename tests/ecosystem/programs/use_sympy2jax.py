"""sympy2jax: expressions become modules whose constants train; and back again."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import sympy
import sympy2jax
from report import report

x, y = sympy.symbols("x y")
f = sympy.Function("f")
cosine = 1.3 * sympy.cos(0.7 * x) + y**2 / 2
EXPRESSIONS = [
    cosine,
    sympy.exp(-x) * sympy.log(y + 3),
    sympy.Max(x, y) - sympy.Min(x, 2.5),
    sympy.sqrt(x**2 + y**2),
    f(x) + 1,
]

with report() as numbers:
    module = sympy2jax.SymbolicModule(EXPRESSIONS, {f: lambda value: jnp.tanh(value)})
    numbers["values"] = eqx.filter_jit(module)(x=jnp.array(0.4), y=jnp.array(1.2))
    numbers["leaves"] = jax.tree.leaves(eqx.filter(module, eqx.is_array))
    numbers["vmap"] = jax.vmap(lambda a: module(x=a, y=jnp.array(0.5)))(jnp.linspace(0, 1, 4))
    numbers["matrix"] = sympy2jax.SymbolicModule(sympy.Matrix([[x, y], [x * y, 1]]).tolist())(
        x=jnp.array(2.0), y=jnp.array(3.0)
    )

    fit = sympy2jax.SymbolicModule(cosine)
    grid = jnp.linspace(0, 2, 16)
    target = jnp.cos(grid)
    optimiser = optax.adam(3e-2)
    state = optimiser.init(eqx.filter(fit, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(fit, state):
        def loss(fit):
            out = jax.vmap(lambda a: fit(x=a, y=jnp.array(0.0)))(grid)
            return jnp.mean((out - target) ** 2)

        value, grads = eqx.filter_value_and_grad(loss)(fit)
        updates, state = optimiser.update(grads, state)
        return value, eqx.apply_updates(fit, updates), state

    losses = []
    for _ in range(10):
        value, fit, state = step(fit, state)
        losses.append(value)
    numbers["losses"] = jnp.stack(losses)
    back = fit.sympy()
    numbers["back"] = float(back.subs({x: 0.4, y: 1.2})), fit(x=jnp.array(0.4), y=jnp.array(1.2))
