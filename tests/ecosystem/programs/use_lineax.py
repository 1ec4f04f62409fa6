"""lineax: solvers, tags, structured operators, gradients, batches and failures of linear solves."""

import jax
import jax.numpy as jnp
import lineax as lx
from report import report

jax.config.update("jax_enable_x64", True)

matrix = jax.random.normal(jax.random.key(0), (5, 5))
definite = matrix @ matrix.T + jnp.eye(5)
vector = jnp.arange(1.0, 6.0)

SQUARE = {
    "LU": lx.LU(),
    "QR": lx.QR(),
    "SVD": lx.SVD(),
    "GMRES": lx.GMRES(rtol=1e-10, atol=1e-10),
    "BiCGStab": lx.BiCGStab(rtol=1e-10, atol=1e-10),
    "Auto": lx.AutoLinearSolver(well_posed=True),
}
DEFINITE = {"CG": lx.CG(rtol=1e-10, atol=1e-10), "Cholesky": lx.Cholesky()}


def in_all_ways(solver, matrix, tags):
    """The solution, its derivatives in both modes, and a batch of solutions."""

    def solve(matrix, vector):
        return lx.linear_solve(lx.MatrixLinearOperator(matrix, tags), vector, solver).value

    scale = jnp.cos(vector)
    return {
        "value": jax.jit(solve)(matrix, vector),
        "grad": jax.jit(jax.grad(lambda a, b: solve(a, b) @ scale, argnums=(0, 1)))(matrix, vector),
        "jvp": jax.jit(lambda a, b: jax.jvp(solve, (a, b), (a.T, b**2)))(matrix, vector),
        "vmap": jax.jit(jax.vmap(solve, in_axes=(None, 0)))(matrix, jnp.outer(scale, vector)),
    }


def structured():
    """Operators other than a matrix, each with the solver made for it."""
    diagonal = lx.DiagonalLinearOperator(vector)
    tridiagonal = lx.TridiagonalLinearOperator(vector + 5, vector[1:], vector[:-1])
    triangular = lx.MatrixLinearOperator(jnp.tril(definite), lx.lower_triangular_tag)

    def stencil(tree):
        return {"x": 3 * tree["x"] + tree["y"], "y": tree["x"] + 2 * tree["y"]}

    like = {"x": jnp.ones(2), "y": jnp.ones(2)}
    shape = jax.eval_shape(lambda: like)
    function = lx.FunctionLinearOperator(stencil, shape, lx.positive_semidefinite_tag)
    jacobian = lx.JacobianLinearOperator(lambda x, args: jnp.tanh(x) * args + x, vector, 2.0)
    tree = lx.PyTreeLinearOperator(
        {"a": {"u": definite[:2, :2], "v": definite[:2, 2:]}},
        {"a": jax.ShapeDtypeStruct((2,), vector.dtype)},
    )
    return {
        "diagonal": lx.linear_solve(diagonal, vector).value,
        "tridiagonal": lx.linear_solve(tridiagonal, vector, lx.Tridiagonal()).value,
        "triangular": lx.linear_solve(triangular, vector, lx.Triangular()).value,
        "function": lx.linear_solve(function, like, lx.CG(1e-9, 1e-9)).value,
        "jacobian": lx.linear_solve(jacobian, vector, lx.LU()).value,
        "composed": lx.linear_solve(tridiagonal @ diagonal + tridiagonal.T, vector).value,
        "materialised": lx.materialise(jacobian).as_matrix(),
        "pytree": tree.mv({"u": jnp.ones(2), "v": jnp.ones(3)}),
        "tags": [
            lx.is_symmetric(diagonal),
            lx.is_diagonal(lx.linearise(diagonal)),
            lx.is_positive_semidefinite(function),
            lx.is_lower_triangular(triangular.T),
        ],
    }


def least_squares(solver):
    def solve(matrix, vector):
        return lx.linear_solve(lx.MatrixLinearOperator(matrix), vector, solver).value

    return jax.jit(jax.value_and_grad(lambda a: jnp.sum(solve(a, vector) ** 2)))(matrix[:, :3])


with report() as numbers:
    for name, solver in SQUARE.items():
        numbers[name] = in_all_ways(solver, matrix, ())
    for name, solver in DEFINITE.items():
        numbers[name] = in_all_ways(solver, definite, lx.positive_semidefinite_tag)
    numbers["structured"] = structured()
    numbers["tall QR"] = least_squares(lx.QR())
    numbers["tall SVD"] = least_squares(lx.SVD())
    numbers["tall normal"] = least_squares(lx.Normal(lx.CG(1e-10, 1e-10)))
    numbers["Hessian"] = jax.hessian(
        lambda b: jnp.sum(lx.linear_solve(lx.MatrixLinearOperator(matrix), b**2).value ** 3)
    )(vector)

    singular = lx.MatrixLinearOperator(jnp.zeros((3, 3)))
    failed = lx.linear_solve(singular, jnp.ones(3), lx.LU(), throw=False)
    numbers["singular"] = failed.result == lx.RESULTS.successful
    few = lx.linear_solve(
        lx.MatrixLinearOperator(definite, lx.positive_semidefinite_tag),
        vector,
        lx.CG(1e-14, 1e-14, max_steps=2),
        throw=False,
    )
    numbers["max_steps"] = few.result == lx.RESULTS.max_steps_reached, few.stats["num_steps"]
    try:
        jax.block_until_ready(lx.linear_solve(singular, jnp.ones(3), lx.LU()).value)
    except Exception as error:
        numbers["raises"] = "singular" in str(error)
