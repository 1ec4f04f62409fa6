"""Functions with derivative rules of their own, against `jax.custom_jvp` and `jax.custom_vjp`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0) + 1
V = jnp.array([2.0, -1.0, 0.5])


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


class Model(Module):
    weight: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    steps: jax.Array | int = 2


def forward(seen: list[Any]) -> Any:
    """sin(w x), with a derivative that is ten times too large, so that it is told apart."""

    @ft.filter_custom_jvp
    def f(model: Any, x: Any, name: str, *, scale: Any = 1.0) -> Any:
        return {"y": jnp.sin(model.weight * x) * scale, "name": name, "n": jnp.arange(2)}

    @f.def_jvp
    def rule(primals: Any, tangents: Any, *, scale: Any = 1.0) -> Any:
        model, x, name = primals
        dmodel, dx, dname = tangents
        seen.append(tangents)
        assert dname is dmodel.activation is dmodel.steps is None and name == "s"
        total = 0
        if dmodel.weight is not None:
            total = total + dmodel.weight * x
        if dx is not None:
            total = total + dx * model.weight
        tangent = {"y": 10 * total * jnp.cos(model.weight * x) * scale, "name": None, "n": None}
        return f(*primals, scale=scale), tangent

    assert rule is not None and f.__name__ == "f"
    return f


def by_hand(w: jax.Array, x: jax.Array, scale: Any = 1.0) -> jax.Array:
    @jax.custom_jvp
    def f(w: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sin(w * x) * scale

    @f.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (w, x), (dw, dx) = primals, tangents
        return f(w, x), 10 * (dw * x + dx * w) * jnp.cos(w * x) * scale

    return f(w, x)


WRAPS: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda w, x: jax.vmap(f)(w[None], x[None])[0],
    "vjp": lambda f: lambda w, x: jax.vjp(f, w, x)[1](V),
    "jvp": lambda f: lambda w, x: jax.jvp(f, (w, x), (x, w)),
    "jvp of one": lambda f: lambda w, x: jax.jvp(lambda w: f(w, x), (w,), (x,)),
    "jit of jvp": lambda f: jax.jit(lambda w, x: jax.jvp(f, (w, x), (x, w))),
    "vmap of vjp": lambda f: lambda w, x: jax.vmap(lambda v: jax.vjp(f, w, x)[1](v))(jnp.eye(3)),
    "scan": lambda f: (
        lambda w, x: jax.jvp(
            lambda w: jax.lax.scan(lambda c, _: (f(w, c), c), x, None, length=3), (w,), (w,)
        )
    ),
    "checkpoint": lambda f: lambda w, x: jax.vjp(jax.checkpoint(f), w, x)[1](V),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_custom_jvp(wrap: str):
    f = forward([])
    ours = WRAPS[wrap](lambda w, x: f(Model(w), x, "s")["y"])(V, X)
    theirs = WRAPS[wrap](by_hand)(V, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


# https://github.com/patrick-kidger/equinox/issues/745
def test_custom_jvp_of_keywords():
    f = forward([])
    scale = jnp.array(2.0)
    out, tangent = ft.filter_jvp(lambda x: f(Model(V), x, "s", scale=scale), (X,), (X,))
    equal(tangent["y"], jax.jvp(lambda x: by_hand(V, x, scale), (X,), (X,))[1])
    assert out["name"] == "s" and tangent["name"] is tangent["n"] is None
    gradient = ft.filter_grad(lambda x, k: f(Model(V), x, "s", scale=k)["y"].sum())
    for g in (gradient, ft.filter_jit(gradient)):
        equal(g(X, scale), jax.grad(lambda x: by_hand(V, x, scale).sum())(X))
    with pytest.raises(ValueError, match=r"Received keyword tangent.*\['scale'\]"):
        jax.grad(lambda k: f(Model(V), X, "s", scale=k)["y"].sum())(scale)


# https://github.com/patrick-kidger/equinox/issues/422
def test_zero_tangents_stay_symbolic():
    seen: list[Any] = []
    f = forward(seen)
    ft.filter_jvp(lambda w: f(Model(w), X, "s")["y"], (V,), (V,))
    assert seen[-1][1] is None and seen[-1][0].weight is not None
    jax.grad(lambda x: f(Model(V), x, "s")["y"].sum())(X)
    assert seen[-1][0].weight is None and seen[-1][1] is not None

    @ft.filter_custom_jvp
    def two(x: Any, y: Any) -> Any:
        return x * 2, (y * 3, x, "s")

    two.def_jvp(lambda p, t: (two(*p), (t[0] * 2, None)))
    for g in (two, lambda x, y: ft.filter_jvp(two, (x, y), (x, y))[0]):
        out, tangent = ft.filter_jvp(g, (X, V), (X, V))
        equal(tangent[0], 2 * X)
        assert tangent[1] == (None, None, None) and out[1][2] == "s"


# https://github.com/patrick-kidger/equinox/issues/964
def test_custom_jvp_around_a_checkpointed_scan_with_an_aux_output():
    @ft.filter_custom_jvp
    def solve(x: jax.Array, options: Any) -> Any:
        body = ft.filter_checkpoint(lambda c, _: (c * x[0], c))
        out, _ = ft.filter_scan(body, x[1], None, length=3)
        return out, {"steps": jnp.array(3), "f": options["f"], "none": None}

    @solve.def_jvp
    def _(primals: Any, tangents: Any) -> Any:
        (x, options), (dx, _) = primals, tangents
        out, aux = solve(x, options)
        derivative = 3 * x[0] ** 2 * x[1] * dx[0] + x[0] ** 3 * dx[1]
        return (out, aux), (derivative, {"steps": None, "f": None, "none": None})

    for wrap in (lambda f: f, ft.filter_jit):
        f = wrap(ft.filter_value_and_grad(lambda x: solve(x, {"f": len}), has_aux=True))
        (value, aux), gradient = f(jnp.array([2.0, 5.0]))
        assert value == 40.0 and aux["steps"] == 3 and aux["f"] is len
        equal(gradient, jnp.array([60.0, 8.0]))


def test_defjvps():
    @ft.filter_custom_jvp
    def f(x: Any, y: Any, n: Any, *, k: Any = 1) -> Any:
        return {"a": x * y["y"], "s": n}

    f.defjvps(
        lambda t, out, x, y, n, k=1: {"a": 10 * t * y["y"], "s": None},
        lambda t, out, x, y, n, k=1: {"a": t["y"] * x * 100 + t["z"], "s": None},
        None,
    )
    y = {"y": V, "z": X}
    _, tangent = ft.filter_jvp(f, (X, y, "n"), (X, y, None))
    np.testing.assert_allclose(tangent["a"], 110 * X * V + X, rtol=1e-6)
    assert tangent["s"] is None
    equal(jax.jvp(lambda x: f(x, y, "n")["a"], (X,), (V,))[1], 10 * V * V)
    equal(jax.jvp(lambda v: f(X, {"y": v, "z": X}, "n")["a"], (V,), (V,))[1], V * X * 100)
    equal(jax.grad(lambda x: f(X, {"y": V, "z": x}, "n")["a"].sum())(X), jnp.ones(3))
    with pytest.raises(TypeError, match="3 functions, and 2 positional"):
        ft.filter_jvp(f, (X, y), (X, y))
    with pytest.raises(TypeError, match="positional arguments only, got x"):
        f.defjvps(x=None)


def test_custom_jvp_errors():
    @ft.filter_custom_jvp
    def f(x: Any) -> Any:
        return x, "s"

    def derivative() -> Any:
        return jax.jvp(lambda x: f(x)[0], (X,), (X,))

    with pytest.raises(AttributeError, match="No JVP defined.*def_jvp"):
        f(X)
    f.defjvp(lambda p, t: X)
    with pytest.raises(ValueError, match=r"must return a pair `\(out, tangent_out\)`"):
        derivative()
    f.def_jvp(lambda p, t: ((p[0], "s"), (t[0], 1.0)))
    with pytest.raises(ValueError, match=r"not an array: at \[1\] the result is 's'"):
        derivative()
    f.def_jvp(lambda p, t: ((p[0], "s"), [t[0], None]))
    with pytest.raises(ValueError, match="a tree like `out`"):
        derivative()
    f.def_jvp(lambda p, t: ((p[0], "s"), (t[0][:1], None)))
    with pytest.raises(TypeError, match="corresponding shapes and dtypes"):
        derivative()
    with pytest.raises(TypeError, match="`filter_custom_jvp` expects a function"):
        ft.filter_custom_jvp(1)
    g = ft.filter_custom_jvp(Scale(V))
    g.def_jvp(lambda p, t: (p[0], t[0]))
    equal(g(X), V * X)
    with pytest.raises(ValueError, match="cannot be differentiated itself.*weight"):

        def of_weight(w: Any) -> Any:
            g = ft.filter_custom_jvp(Scale(w))
            g.def_jvp(lambda p, t: (p[0], t[0]))
            return g(X).sum()

        jax.grad(of_weight)(V)


class Scale(Module):
    weight: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    @ft.filter_custom_jvp
    def method(self, x: jax.Array) -> jax.Array:
        return self.weight * x


@Scale.method.def_jvp
def _(primals: Any, tangents: Any) -> Any:
    (scale, x), (dscale, dx) = primals, tangents
    assert dx is None
    return scale.weight * x, 10 * dscale.weight * x


def test_methods():
    equal(Scale(V).method(X), V * X)
    gradient = ft.filter_grad(lambda s: s.method(X).sum())(Scale(V))
    equal(gradient.weight, 10 * X)


def reverse(seen: list[Any]) -> Any:
    @ft.filter_custom_vjp
    def f(model: Any, x: Any, *, name: str = "s") -> Any:
        return {"y": jnp.sin(model.weight * x), "z": model.weight * 2, "name": name}

    @f.def_fwd
    def fwd(perturbed: Any, model: Any, x: Any, *, name: str = "s") -> Any:
        return f(model, x, name=name), (jnp.cos(model.weight * x), "residual", perturbed.weight)

    @f.def_bwd
    def bwd(res: Any, grad: Any, perturbed: Any, model: Any, x: Any, *, name: str = "s") -> Any:
        seen.append((res, grad, perturbed))
        assert res[1] == "residual" and grad["name"] is None and model.activation is jnp.tanh
        total = jnp.zeros(3)
        if grad["y"] is not None:
            total = total + 10 * grad["y"] * res[0] * x
        if grad["z"] is not None:
            total = total + 100 * grad["z"]
        return Model(total, None, None)

    assert fwd.__name__ == "fwd" and bwd.__name__ == "bwd" and f.__name__ == "f"
    return f


def reverse_by_hand(w: jax.Array, x: jax.Array) -> Any:
    @jax.custom_vjp
    def f(w: jax.Array) -> Any:
        return {"y": jnp.sin(w * x), "z": w * 2}

    f.defvjp(
        lambda w: (f(w), jnp.cos(w * x)),
        lambda cos, g: (10 * g["y"] * cos * x + 100 * g["z"],),
    )
    return f(w)


def loss(f: Any, parts: str) -> Any:
    return lambda w: sum((f(w)[part] ** 2).sum() for part in parts)


@pytest.mark.parametrize("parts", ["y", "z", "yz"])
@pytest.mark.parametrize("wrap", ["grad", "jit", "vmap", "checkpoint", "jacrev"])
def test_custom_vjp(parts: str, wrap: str):
    f = reverse([])
    wraps: dict[str, Any] = {
        "grad": lambda f: jax.grad(loss(f, parts)),
        "jit": lambda f: jax.jit(jax.grad(loss(f, parts))),
        "vmap": lambda f: lambda w: jax.vmap(jax.grad(loss(f, parts)))(jnp.stack([w, w + 1])),
        "checkpoint": lambda f: jax.grad(jax.checkpoint(loss(f, parts))),
        "jacrev": lambda f: jax.jacrev(lambda w: [f(w)[part] for part in parts]),
    }
    ours = wraps[wrap](lambda w: f(Model(w), X))(V)
    theirs = wraps[wrap](lambda w: reverse_by_hand(w, X))(V)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


def test_custom_vjp_knows_what_is_perturbed_and_what_is_zero():
    seen: list[Any] = []
    f = reverse(seen)
    assert f(Model(V), X)["name"] == "s"
    gradient = ft.filter_grad(lambda m: f(m, X, name="t")["z"].sum())(Model(V))
    equal(gradient.weight, 100 * jnp.ones(3))
    res, grad, perturbed = seen[-1]
    assert grad["y"] is None and grad["z"] is not None
    assert res[2] is perturbed.weight is True
    assert perturbed.activation is perturbed.steps is False

    @ft.filter_custom_vjp
    def g(pair: Any) -> Any:
        return pair[0] * pair[1]

    g.def_fwd(lambda perturbed, pair: (g(pair), None))
    g.def_bwd(lambda res, ct, perturbed, pair: seen.append(perturbed) or (None, ct * pair[0]))
    equal(jax.grad(lambda y: g((X, y)).sum())(V), X)
    assert seen[-1] == (False, True)
    equal(jax.grad(lambda x: g((x, V)).sum())(X), jnp.zeros(3))


def test_custom_vjp_with_closures():
    def closed(w: jax.Array, x: jax.Array) -> jax.Array:
        f = ft.filter_custom_vjp(lambda x: x * w)
        f.def_fwd(lambda perturbed, x: (x * w, None))
        f.def_bwd(lambda res, ct, perturbed, x: 10 * ct * w)
        return f(x)

    gradient = jax.grad(lambda x, w: closed(w, x).sum())
    equal(gradient(X, V), 10 * V)
    equal(jax.jit(gradient)(X, V), 10 * V)
    many = jnp.stack([V, X])
    equal(jax.vmap(gradient, in_axes=(None, 0))(X, many), 10 * many)


def test_a_backward_rule_that_closes_over_what_is_differentiated_is_told():
    def closed(w: jax.Array) -> jax.Array:
        f = ft.filter_custom_vjp(lambda x: 2 * x)
        f.def_fwd(lambda perturbed, x: (2 * x, None))
        f.def_bwd(lambda res, ct, perturbed, x: ct * w)
        return f(3 * w)

    with pytest.raises(RuntimeError, match="uses a value that is being differentiated.*residual"):
        jax.grad(closed)(jnp.array(2.0))


def test_python_numbers_that_jax_differentiates():
    f = ft.filter_custom_jvp(lambda x, n: (x, n))
    f.def_jvp(lambda p, t: (p, (10 * t[0], None)))
    assert jax.grad(lambda x: f(x, 2)[0])(1.0) == 10.0
    assert jax.jvp(lambda x: f(x, 2)[0], (1.0,), (2.0,)) == (1.0, 20.0)
    g = ft.filter_custom_vjp(lambda x, n: (x, n))
    g.def_fwd(lambda perturbed, x, n: ((x, n), x))
    g.def_bwd(lambda res, ct, perturbed, x, n: 10 * ct[0] * res)
    assert jax.grad(lambda x: g(x, 2)[0])(3.0) == 30.0


def test_former_vjp():
    @ft.filter_custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y, x * 2, "s"

    def bwd(res: Any, ct: Any, x: Any, y: Any) -> Any:
        assert ct[2] is None
        return 10 * ct[0] * res + ct[1]

    with pytest.warns(UserWarning, match="def_fwd"):
        f.defvjp(lambda x, y: ((x * y, x * 2, "s"), y), bwd)
    equal(jax.grad(lambda x: f(x, V)[0].sum())(X), 10 * V)


def test_custom_vjp_errors():
    f = reverse([])
    for g in (lambda x: f(Model(V), x), lambda x: f(Model(x), x)):
        with pytest.raises(RuntimeError, match="Unexpected tangent"):
            jax.grad(lambda x, g=g: g(x)["y"].sum())(X)
    incomplete = ft.filter_custom_vjp(lambda x: x)
    incomplete.def_fwd(lambda perturbed, x: (x, None))
    with pytest.raises(RuntimeError, match="`def_fwd` or `def_bwd` not yet called"):
        incomplete(X)
    with pytest.raises(TypeError, match="vjp_arg"):
        f(model=Model(V), x=X)

    def gradient(bwd: Any, fwd: Any = lambda p, x: (x, None)) -> Any:
        g = ft.filter_custom_vjp(lambda x: x)
        g.def_fwd(fwd)
        g.def_bwd(bwd)
        return jax.grad(lambda x: g([x, "s"])[0].sum())(X)

    for wrong in (None, (X, None), [X], [X, 1.0], [[X], None]):
        with pytest.raises(RuntimeError, match="gradients must have the same structure"):
            gradient(lambda *args, wrong=wrong: wrong)
    with pytest.raises(ValueError, match=r"must return a pair.*got"):
        gradient(lambda *args: X, lambda p, x: x)


def test_a_rule_that_calls_its_function_on_python_numbers() -> None:
    # JAX hands a Python number on as it is, to the rule and from it to the function.
    @ft.filter_custom_jvp
    def f(x: Any) -> Any:
        return x * 2, "name"

    @f.def_jvp
    def rule(primals: Any, tangents: Any) -> Any:
        return f(*primals), (3 * tangents[0], None)

    assert jax.grad(lambda x: f(x)[0])(1.0) == 3.0
    out, tangent = jax.jvp(lambda x: f(x)[0], (1.0,), (2.0,))
    assert out == 2.0 and tangent == 6.0
