"""JAX hands constants to rules as numbers, of types of its own since 0.9; rules see arrays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from filtered_transforms import extend, filter_custom_jvp, filter_custom_vjp, is_array
from filtered_transforms.extend import filter_primitive_bind as bind

YS = jnp.array([1.0, -2.0])


def ys(one: Any) -> jax.Array:
    return YS.astype(jnp.result_type(one))


def rules(product_p: Callable[[], Any]) -> dict[str, Any]:
    """The rules of `x * y`, each of which insists on arrays."""

    def arrays(*trees: Any) -> None:
        for leaf in jax.tree.leaves(trees, is_leaf=lambda x: isinstance(x, ad.UndefinedPrimal)):
            kinds = (str, jax.core.ShapedArray, ad.UndefinedPrimal)
            assert is_array(leaf) or isinstance(leaf, kinds), type(leaf)

    @extend.filter_primitive_def
    def impl(x: Any, y: Any, text: str) -> Any:
        return x * y, text

    @extend.filter_primitive_def
    def shapes(x: Any, y: Any, text: str) -> Any:
        x, y = (jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)) for a in (x, y))
        out = jax.eval_shape(jnp.multiply, x, y)
        return jax.core.ShapedArray(out.shape, out.dtype), text

    @extend.filter_primitive_jvp
    def jvp(primals: Any, tangents: Any) -> Any:
        (x, y, text), (t_x, t_y, _) = primals, tangents
        arrays(*(p for p, t in zip(primals, tangents, strict=True) if t is not None), *tangents)
        parts = [bind(product_p(), t_x, y, text)[0]] if t_x is not None else []
        parts += [bind(product_p(), x, t_y, text)[0]] if t_y is not None else []
        return bind(product_p(), x, y, text), (sum(parts[1:], parts[0]), None)

    @extend.filter_primitive_transpose
    def transpose(inputs: Any, cotangents: Any) -> Any:
        x, y, text = inputs
        (ct, _) = cotangents
        arrays(ct)
        linear, other = (x, y) if isinstance(x, ad.UndefinedPrimal) else (y, x)
        found = bind(product_p(), ct, other, text)[0]
        found = found if found.shape == linear.aval.shape else found.sum()
        return (found, None, None) if linear is x else (None, found, None)

    @extend.filter_primitive_batching
    def batch(inputs: Any, axes: Any) -> Any:
        mapped = [a for a, axis in zip(inputs, axes, strict=True) if axis is not None]
        arrays(*mapped)
        assert all(axis in (0, None) for axis in axes)
        return bind(product_p(), *inputs), (0, None)

    return {"impl": impl, "shapes": shapes, "jvp": jvp, "transpose": transpose, "batch": batch}


def by_create_vprim() -> Any:
    made = rules(lambda: product_p)
    product_p = extend.create_vprim(
        "xy", *(made[k] for k in ("impl", "shapes", "jvp", "transpose"))
    )
    return product_p


def by_jax() -> Any:
    product_p = Primitive("xy_of_jax")
    product_p.multiple_results = True
    made = rules(lambda: product_p)
    product_p.def_impl(made["impl"])
    product_p.def_abstract_eval(made["shapes"])
    mlir.register_lowering(product_p, mlir.lower_fun(made["impl"], multiple_results=True))
    batching.primitive_batchers[product_p] = made["batch"]
    ad.primitive_jvps[product_p] = made["jvp"]
    ad.primitive_transposes[product_p] = made["transpose"]
    return product_p


def called(primitive: Any) -> Callable[[Any, Any], Any]:
    return lambda x, y: bind(primitive, x, y, "text")[0]


@filter_custom_jvp
def by_custom_jvp(x: Any, y: Any) -> Any:
    return x * y


@by_custom_jvp.def_jvp
def _rule(primals: Any, tangents: Any) -> Any:
    (x, y), (t_x, t_y) = primals, tangents
    assert is_array(x) or t_x is None
    assert is_array(y) or t_y is None
    zero = jnp.zeros_like(x * y)
    return x * y, (zero if t_x is None else t_x * y) + (zero if t_y is None else x * t_y)


@filter_custom_vjp
def _product(xy: Any) -> Any:
    return xy[0] * xy[1]


@_product.def_fwd
def _fwd(perturbed: Any, xy: Any) -> Any:
    assert all(is_array(a) or not p for a, p in zip(xy, perturbed, strict=True))
    return xy[0] * xy[1], None


@_product.def_bwd
def _bwd(residuals: Any, ct: Any, perturbed: Any, xy: Any) -> Any:
    assert is_array(ct)
    return tuple(ct * b if is_array(a) else None for a, b in zip(xy, xy[::-1], strict=True))


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "create_vprim": called(by_create_vprim()),
    "a primitive of JAX": called(by_jax()),
    "filter_custom_jvp": by_custom_jvp,
    "filter_custom_vjp": lambda x, y: _product((x, y)),
    "noinline": extend.noinline(lambda x, y: x * y),
}
FORWARDS = ("jvp", "linearize", "grad of grad", "jvp of jit")

KINDS: dict[str, Callable[[float], Any]] = {
    "float": float,
    "complex": complex,
    "numpy.float32": np.float32,
    "array": jnp.asarray,
}


def grad(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: jax.grad(f, holomorphic=jnp.iscomplexobj(x))(x)


STAGES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "grad": lambda f, x, one: grad(lambda x: f(x, x))(x),
    "grad by a constant": lambda f, x, one: grad(lambda x: f(x, jnp.asarray(one)))(x),
    "grad of grad": lambda f, x, one: grad(grad(lambda x: f(x, x) * x))(x),
    "jvp": lambda f, x, one: jax.jvp(lambda x: f(x, x), (x,), (one,)),
    "linearize": lambda f, x, one: jax.linearize(lambda x: f(x, x), x)[1](one),
    "vjp": lambda f, x, one: jax.vjp(lambda x: f(x, x), x)[1](one),
    "jit": lambda f, x, one: jax.jit(lambda x: f(x, x))(x),
    "jit of grad": lambda f, x, one: jax.jit(grad(lambda x: f(x, x)))(x),
    "grad of jit": lambda f, x, one: grad(jax.jit(lambda x: f(x, x)))(x),
    "jvp of jit": lambda f, x, one: jax.jvp(
        jax.jit(lambda x: f(jnp.asarray(3.0 * one), x)), (x,), (one,)
    ),
    "vmap": lambda f, x, one: jax.vmap(lambda y: f(jnp.asarray(x), y))(ys(one)),
    "vmap of jit": lambda f, x, one: jax.vmap(jax.jit(lambda y: f(jnp.asarray(x), y)))(ys(one)),
    "vmap of grad": lambda f, x, one: jax.vmap(lambda y: grad(lambda x: f(x, y))(x))(ys(one)),
    "grad of vmap": lambda f, x, one: grad(lambda x: jax.vmap(lambda y: f(x, y))(ys(one)).sum())(x),
}


# https://docs.jax.dev/en/latest/changelog.html (0.9: literals are typed)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in FUNCTIONS
        for kind in (KINDS if name in ("create_vprim", "a primitive of JAX") else ["float"])
    ],
)
@pytest.mark.parametrize("stage", STAGES)
def test_rules_see_arrays(name: str, stage: str, kind: str):
    if name == "filter_custom_vjp" and stage in FORWARDS:
        pytest.skip("it has no derivative forwards")
    x, one = KINDS[kind](5.0), KINDS[kind](1.0)
    found = STAGES[stage](FUNCTIONS[name], x, one)
    expected = STAGES[stage](lambda x, y: x * y, x, one)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("x", [3, np.int32(3), jnp.array(3)])
@pytest.mark.parametrize("name", ["create_vprim", "a primitive of JAX"])
def test_integers_beside_what_is_differentiated(name: str, x: Any):
    f = FUNCTIONS[name]
    found = jax.value_and_grad(jax.jit(lambda y, n: f(y, f(n, n).astype(jnp.float32))))(5.0, x)
    np.testing.assert_allclose(found, (45.0, 9.0))
    np.testing.assert_array_equal(jax.vmap(f, in_axes=(None, 0))(x, jnp.arange(2)), [0, 3])


def test_a_cotangent_that_is_a_number():
    def f(x: Any) -> Any:
        return extend.nondifferentiable_backward(x, symbolic=False)

    for zero, one in ((0.0, 1.0), (np.float32(0), np.float32(1))):
        _, back = jax.vjp(f, 5.0)
        assert back(zero) == (0.0,)
        with pytest.raises(Exception, match="cannot be reverse-mode autodifferentiated"):
            jax.block_until_ready(back(one))


def test_a_choice_between_numbers():
    def choose(x: Any, y: Any) -> Any:
        return extend.select_if_vmap_p.bind(jnp.array(True), x, y)

    assert jax.grad(lambda x: choose(x, x * x))(5.0) == 1.0
    mapped = jax.vmap(jax.jit(lambda p: extend.select_if_vmap_p.bind(p, jnp.asarray(5.0), 2.0)))
    assert mapped(jnp.array([True, False])).tolist() == [5.0, 2.0]
