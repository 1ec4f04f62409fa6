"""Primitives on trees, against the same functions written in JAX's own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from filtered_transforms import extend
from filtered_transforms.extend import filter_primitive_bind as bind

A = jnp.arange(6.0).reshape(2, 3) / 5
X = jnp.array([1.0, -2.0, 0.5])
V = jnp.array([0.3, 2.0])
ShapedArray = jax.core.ShapedArray


def make_product() -> Any:
    """`power * A @ x`, linear in `A` and in `x`, as a primitive on trees with static arguments."""

    @extend.filter_primitive_def
    def impl(matrix: Any, x: Any, options: Any) -> Any:
        y = options["power"] * (matrix["A"] @ x)
        return {"y": y, "rest": (jnp.arange(2), options["name"])}

    @extend.filter_primitive_def
    def shapes(matrix: Any, x: Any, options: Any) -> Any:
        y = ShapedArray(matrix["A"].shape[:1], x.dtype)
        return {"y": y, "rest": (ShapedArray((2,), jnp.int32), options["name"])}

    @extend.filter_primitive_jvp
    def jvp(primals: Any, tangents: Any) -> Any:
        matrix, x, options = primals
        t_matrix, t_x, t_options = tangents
        assert jax.tree.leaves(t_options) == []
        y = None
        if t_x is not None:
            y = bind(product_p, matrix, t_x, options)["y"]
        if t_matrix["A"] is not None:
            more = bind(product_p, t_matrix, x, options)["y"]
            y = more if y is None else y + more
        return bind(product_p, matrix, x, options), {"y": y, "rest": (None, None)}

    @extend.filter_primitive_transpose
    def transpose(inputs: Any, cotangents: Any) -> Any:
        matrix, x, options = inputs
        ct, (none, text) = cotangents["y"], cotangents["rest"]
        assert none is None and text is None
        nothing = {"power": None, "name": None}
        if ad.is_undefined_primal(x):
            return {"A": None}, options["power"] * (matrix["A"].T @ ct), nothing
        return {"A": options["power"] * jnp.outer(ct, x)}, None, nothing

    product_p = extend.create_vprim("product", impl, shapes, jvp, transpose)
    extend.register_impl_finalisation(product_p)
    return product_p


PRODUCT = make_product()


def ours(a: Any, x: Any) -> Any:
    out = bind(PRODUCT, {"A": a}, x, {"power": 3, "name": "n"})
    assert out["rest"][1] == "n"
    return out["y"]


def theirs(a: Any, x: Any) -> Any:
    return 3 * (a @ x)


STAGES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f(A, X),
    "jit": lambda f: jax.jit(f)(A, X),
    "jvp": lambda f: jax.jvp(f, (A, X), (2 * A, X)),
    "jvp of one": lambda f: jax.jvp(lambda x: f(A, x), (X,), (X,)),
    "grad": lambda f: jax.grad(lambda a, x: f(a, x) @ V, argnums=(0, 1))(A, X),
    "jit grad": lambda f: jax.jit(jax.grad(lambda a, x: f(a, x) @ V, argnums=(0, 1)))(A, X),
    "hessian": lambda f: jax.hessian(lambda x: jnp.sin(f(A, x)).sum())(X),
    "vmap": lambda f: jax.vmap(f)(jnp.stack([A, -A]), jnp.stack([X, 2 * X])),
    "vmap of one": lambda f: jax.vmap(f, in_axes=(None, 1))(A, jnp.stack([X, 2 * X], 1)),
    "vmap of the other": lambda f: jax.jit(jax.vmap(f, in_axes=(2, None)))(
        jnp.stack([A, -A], 2), X
    ),
    "two vmaps": lambda f: jax.vmap(jax.vmap(f, in_axes=(None, 0)), in_axes=(0, None))(
        jnp.stack([A, -A, 2 * A]), jnp.stack([X, 2 * X])
    ),
    "two vmaps of one": lambda f: jax.vmap(jax.vmap(f, in_axes=(None, 1)), in_axes=(None, 2))(
        A, jnp.arange(12.0).reshape(3, 2, 2)
    ),
    "vmap of grad": lambda f: jax.vmap(jax.grad(lambda a, x: f(a, x) @ V), in_axes=(None, 0))(
        A, jnp.stack([X, 2 * X])
    ),
    "grad of vmap": lambda f: jax.grad(
        lambda a, xs: (jax.vmap(f, in_axes=(None, 1))(a, xs) @ V).sum(), argnums=(0, 1)
    )(A, jnp.stack([X, 2 * X], 1)),
    "grad of two vmaps": lambda f: jax.jit(
        jax.grad(
            lambda a, xs: (
                jax.vmap(jax.vmap(f, in_axes=(None, 1)), in_axes=(2, None))(a, xs) @ V
            ).sum(),
            argnums=(0, 1),
        )
    )(jnp.stack([A, -A, 2 * A], 2), jnp.stack([X, 2 * X], 1)),
    "jvp of vmap": lambda f: jax.jvp(
        lambda xs: jax.vmap(f, in_axes=(None, 0))(A, xs), (jnp.eye(3),), (2 * jnp.eye(3),)
    ),
    "scan": lambda f: jax.lax.scan(lambda c, x: (c + f(A, x)[0], f(A, x)), 0.0, jnp.eye(3)),
    "linear transpose": lambda f: jax.linear_transpose(lambda x: f(A, x), X)(V),
}


def equal(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# Of a mapped primitive too, where some tangents are symbolic zeros:
# https://github.com/patrick-kidger/equinox/commit/68cc26a
# https://github.com/patrick-kidger/equinox/commit/dbd5fa3
@pytest.mark.parametrize("stage", STAGES)
def test_a_primitive_on_trees(stage: str):
    equal(STAGES[stage](ours), STAGES[stage](theirs))


def test_it_is_one_equation():
    jaxpr = jax.make_jaxpr(lambda xs: jax.vmap(lambda x: ours(A, x))(xs))(jnp.eye(3))
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["vmap_product"]


def test_the_rest_of_a_result_may_depend_on_shapes():
    @extend.filter_primitive_def
    def impl(x: Any) -> Any:
        return x, x.shape

    shape_p = extend.create_vprim("shape", impl, impl, None, None)
    f = jax.jit(lambda x: x if bind(shape_p, x)[1] == x.shape else x * jnp.nan)
    for x in (X, A, X, A):
        equal(f(x), x)
        assert bind(shape_p, x)[1] == x.shape


def test_rules_on_a_primitive_of_jax():
    """Without `create_vprim`: rules given to JAX one by one, that for `vmap` included."""
    double_p = Primitive("double")
    double_p.multiple_results = True

    @extend.filter_primitive_def
    def double(x: Any, text: str) -> Any:
        return [2 * x if isinstance(x, jax.Array) else x, text]

    @extend.filter_primitive_batching
    def batch(inputs: Any, axes: Any) -> Any:
        (x, text), (axis, none) = inputs, axes
        assert none is None
        return bind(double_p, x, text), [axis, None]

    @extend.filter_primitive_jvp
    def jvp(primals: Any, tangents: Any) -> Any:
        return bind(double_p, *primals), [*bind(double_p, tangents[0], "t")[:1], None]

    @extend.filter_primitive_transpose(materialise_zeros=True)
    def transpose(inputs: Any, cotangents: Any) -> Any:
        return 2 * cotangents[0], None

    double_p.def_impl(double)
    double_p.def_abstract_eval(double)
    mlir.register_lowering(double_p, mlir.lower_fun(double, multiple_results=True))
    batching.primitive_batchers[double_p] = batch
    ad.primitive_jvps[double_p] = jvp
    ad.primitive_transposes[double_p] = transpose

    def f(x: Any) -> Any:
        out, text = bind(double_p, x, "text")
        assert text == "text"
        return out

    equal(jax.vmap(f, in_axes=1, out_axes=1)(A), 2 * A)
    equal(jax.jit(f)(X), 2 * X)
    equal(jax.grad(lambda x: f(x).sum())(X), jnp.full(3, 2.0))


def test_wrong_rules_and_arguments():
    with pytest.raises(TypeError, match="`product` got a non-array argument that is not hashable"):
        bind(PRODUCT, {"A": A}, X, {"power": 3, "name": {1, 2}})

    @extend.filter_primitive_def
    def same(x: Any) -> Any:
        return x

    @extend.filter_primitive_jvp
    def wrong(primals: Any, tangents: Any) -> Any:
        return primals[0], (tangents[0], tangents[0])

    wrong_p = extend.create_vprim("wrong", same, same, wrong, None)
    with pytest.raises(ValueError, match="the tangents of a result must have the structure"):
        jax.jvp(lambda x: bind(wrong_p, {"x": x})["x"], (X,), (X,))


def test_zeros_are_made_where_they_are_wanted():
    zeros = extend.materialise_zeros
    equal(zeros(X, None), jnp.zeros(3))
    assert zeros(X, V) is V and zeros("relu", None) is None
    equal(zeros(1.0, None), jnp.array(0.0))
    assert zeros(jnp.arange(2), None).dtype == jax.dtypes.float0
    shape = jax.ShapeDtypeStruct((2,), jnp.bfloat16)
    assert zeros(shape, None) is None
    equal(zeros(shape, None, allow_struct=True), jnp.zeros(2, jnp.bfloat16))


# --- reductions over everything

MANY = jnp.array([[3, 1, 2], [6, 5, 4]])


@pytest.mark.parametrize(
    "name, reduce", [("any", jnp.any), ("all", jnp.all), ("max", jnp.max), ("min", jnp.min)]
)
@pytest.mark.parametrize("x", [MANY, MANY > 3, MANY.astype(jnp.float32), jnp.array(2)])
def test_reductions_see_all_examples(name: str, reduce: Any, x: jax.Array):
    f = getattr(extend, f"unvmap_{name}")
    equal(f(x), reduce(x))
    equal(jax.jit(f)(x), reduce(x))
    if x.ndim:
        equal(jax.jit(jax.vmap(f, out_axes=None))(x), reduce(x))
        equal(jax.vmap(jax.vmap(f, out_axes=None), out_axes=None)(x), reduce(x))
        jaxpr = jax.make_jaxpr(jax.vmap(f, out_axes=None))(x)
        assert [eqn.primitive.name for eqn in jaxpr.eqns] == [f"unvmap_{name}"]


def test_a_branch_stays_a_branch_under_vmap():
    def f(x: Any) -> Any:
        return jax.lax.cond(extend.unvmap_any(x > 2), jnp.sin, jnp.cos, x)

    jaxpr = jax.make_jaxpr(jax.vmap(f))(X)
    assert "cond" in str(jaxpr) and "select_n" not in str(jaxpr)
    equal(jax.vmap(f)(X), jnp.cos(X))
    equal(jax.vmap(f)(3 + X), jnp.sin(3 + X))


# --- what forbids a transformation

TREE = {"x": X, "n": jnp.arange(2), "name": "s", "number": 2.0}
FORBIDDEN: dict[str, tuple[Any, type[Exception], str]] = {
    "vmap": (lambda: jax.vmap(extend.nonbatchable)(X), ValueError, "This operation cannot be"),
    "vmap by name": (
        lambda: jax.vmap(lambda x: extend.nonbatchable(x, name="Sorting"))(X),
        ValueError,
        "Unexpected batch tracer. Sorting cannot be vmap'd",
    ),
    "vmap by message": (
        lambda: jax.vmap(lambda x: extend.nonbatchable(x, msg="mine"))(X),
        ValueError,
        "^mine",
    ),
    "jvp": (
        lambda: jax.jvp(extend.nondifferentiable, (X,), (X,)),
        RuntimeError,
        "Unexpected tangent. This operation cannot be autodifferentiated",
    ),
    "grad by name": (
        lambda: jax.grad(lambda x: extend.nondifferentiable(x, name="Rounding"))(1.0),
        RuntimeError,
        "Rounding cannot be autodifferentiated",
    ),
    "grad by message": (
        lambda: jax.jit(jax.grad(lambda x: extend.nondifferentiable(x, msg="mine")))(1.0),
        RuntimeError,
        "^mine",
    ),
    "backward": (
        lambda: jax.grad(extend.nondifferentiable_backward)(1.0),
        RuntimeError,
        "Unexpected cotangent. This operation cannot be reverse-mode",
    ),
    "backward by zeros": (
        lambda: jax.grad(lambda x: x + 0 * extend.nondifferentiable_backward(x, "It"))(1.0),
        RuntimeError,
        "It cannot be reverse-mode",
    ),
    "nothing, vmap": (
        lambda: jax.vmap(extend.nontraceable)(X),
        RuntimeError,
        "Detected batching of nontraceable operation",
    ),
    "nothing, grad": (
        lambda: jax.grad(lambda x: extend.nontraceable(x, name="solve"))(1.0),
        RuntimeError,
        "Detected differentiation of solve",
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_forbidden_transformations(case: str):
    run, error, message = FORBIDDEN[case]
    with pytest.raises(error, match=message):
        run()


@pytest.mark.parametrize(
    "name", ["nonbatchable", "nontraceable", "nondifferentiable", "nondifferentiable_backward"]
)
def test_what_forbids_is_otherwise_the_identity(name: str):
    f = getattr(extend, name)
    out = f(TREE)
    assert out["name"] == "s" and out["number"] == 2.0
    equal((out["x"], out["n"]), (X, TREE["n"]))
    equal(jax.jit(f)(X), X)
    if name == "nonbatchable":
        return
    if name != "nontraceable":
        equal(jax.vmap(f)(X), X)
        stopped = jax.grad(lambda x: (f(jax.lax.stop_gradient(x)) * x).sum())(X)
        equal(stopped, X)
    if name == "nondifferentiable_backward":
        equal(jax.jvp(f, (X,), (2 * X,)), (X, 2 * X))


def test_checks_of_values_are_made_when_the_program_runs():
    constant = jax.vmap(lambda x: extend.nonbatchable(x, allow_constant_across_batch=True))
    equal(constant(jnp.ones(3)), jnp.ones(3))
    equal(jax.vmap(constant)(jnp.ones((2, 3))), jnp.ones((2, 3)))
    zeros = jax.grad(
        lambda x, k: (x + k * extend.nondifferentiable_backward(x, symbolic=False)).sum()
    )
    equal(zeros(X, 0.0), jnp.ones(3))
    for f, args in ((constant, (jnp.arange(3),)), (zeros, (X, 1.0))):
        for run in (f, jax.jit(f)):
            with pytest.raises(Exception, match="Nonconstant batch|Unexpected cotangent"):
                jax.block_until_ready(run(*args))


# --- finalisation


def wrapped(x: Any) -> Any:
    x = extend.nondifferentiable_backward(extend.nonbatchable(x))
    return jax.nn.relu(x) + extend.unvmap_max(x) + ours(A, extend.nontraceable(x)).sum()


OWN = ["nonbatchable", "nontraceable", "nondifferentiable", "unvmap", "product", "custom_jvp"]
PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "plain": wrapped,
    "jit": jax.jit(wrapped),
    "scan": lambda x: jax.lax.scan(lambda c, _: (wrapped(c), c), x, None, length=2),
    "while": lambda x: jax.lax.while_loop(lambda c: extend.unvmap_any(c < 9), wrapped, x),
    "cond": lambda x: jax.lax.cond(x[0] > 0, wrapped, jnp.sin, x),
    "checkpoint": jax.checkpoint(wrapped),
    "vmap": jax.vmap(lambda x: ours(A, x * X)),
    "tree": lambda x: {"a": wrapped(x), "b": [x]},
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_finalisation_leaves_what_is_computed(name: str):
    f = PROGRAMS[name]
    equal(extend.finalise_fn(f)(X), f(X))
    jaxpr, shapes = extend.finalise_make_jaxpr(f, return_shape=True)(X)
    assert not any(own in str(jaxpr) for own in OWN)
    assert shapes == jax.eval_shape(f, X)
    closed = jax.make_jaxpr(f)(X)
    final = extend.finalise_jaxpr(closed)
    assert not any(own in str(final) for own in OWN)
    expected = jax.tree.leaves(f(X))
    equal(extend.finalise_jaxpr_as_fn(closed)(X), expected)
    equal(extend.finalise_eval_jaxpr(closed.jaxpr, closed.consts, X), expected)


def test_a_primitive_may_be_replaced_by_another_function():
    mine_p = Primitive("mine")
    mine_p.def_abstract_eval(lambda x: x)
    extend.primitive_finalisations[mine_p] = lambda x: x * 7
    try:
        equal(extend.finalise_fn(lambda x: mine_p.bind(x))(X), 7 * X)
    finally:
        del extend.primitive_finalisations[mine_p]


# --- a choice that only vmap makes


def chosen(pred: Any, x: Any, y: Any) -> Any:
    return extend.select_if_vmap_p.bind(pred, x, y)


def test_without_vmap_there_is_no_choice():
    for pred in (True, False):
        equal(chosen(jnp.array(pred), X, 2 * X), X)
        equal(jax.jit(chosen)(jnp.array(pred), X, 2 * X), X)
        gradients = jax.grad(lambda x, y, p=pred: chosen(p, x, y).sum(), (0, 1))(X, 2 * X)
        equal(gradients, (jnp.ones(3), jnp.zeros(3)))


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, None, 1), (0, 1, None), (0, None, None)])
def test_vmap_selects(axes: Any):
    preds = jnp.array([True, False, True])
    x, y = (
        a if d is None else jnp.stack([a, 3 * a, 5 * a], d)
        for a, d in zip((A, -A), axes[1:], strict=True)
    )

    def total(select: Any) -> Any:
        def f(x: Any, y: Any) -> Any:
            out = jax.vmap(select, in_axes=axes)(preds, x, y)
            return (out * jnp.arange(1.0, 4)[:, None, None]).sum(), out

        return jax.value_and_grad(f, (0, 1), has_aux=True)

    equal(total(chosen)(x, y), total(jnp.where)(x, y))
    tangents = jax.jvp(lambda x: jax.vmap(chosen, in_axes=axes)(preds, x, y), (x,), (2 * x,))
    expected = jax.jvp(lambda x: jax.vmap(jnp.where, in_axes=axes)(preds, x, y), (x,), (2 * x,))
    equal(tangents, expected)


def test_vmap_of_the_values_alone_makes_no_choice():
    out = jax.vmap(chosen, in_axes=(None, 0, 0))(jnp.array(False), A, -A)
    equal(out, A)
    jaxpr = jax.make_jaxpr(jax.vmap(chosen, in_axes=(None, 0, None)))(False, A, X)
    assert "select_n" not in str(jaxpr)
