"""filter_vmap and if_array."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def linear(eqx, key=0):
    return eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(key))


def v(eqx, f, *args, kw=None, **options):
    return eqx.filter_vmap(f, **options)(*args, **(kw or {}))


X, Y = jnp.arange(6.0).reshape(2, 3), jnp.arange(3.0)


short(
    "filter_vmap",
    simple=lambda eqx: v(eqx, lambda x: x.sum(), X),
    default_maps_all_arrays=lambda eqx: v(eqx, lambda x, y: x + y, X, jnp.arange(2.0)),
    default_leaves_rest=lambda eqx: v(eqx, lambda x, s, n: (x * n, s), X, "s", 2),
    default_numpy=lambda eqx: v(eqx, lambda x: x.sum(), np.ones((2, 3), "f4")),
    default_scalar=lambda eqx: v(eqx, lambda x, y: x + y, X, jnp.array(1.0)),
    python_scalar=lambda eqx: v(eqx, lambda x, y: x + y, X, 1.0),
    sizes=lambda eqx: v(eqx, lambda x, y: x, X, jnp.ones(3)),
    in_axes_int=lambda eqx: v(eqx, lambda x: x.sum(), X, in_axes=1),
    in_axes_tuple=lambda eqx: v(eqx, lambda x, y: x + y, X, Y, in_axes=(0, None)),
    in_axes_tuple_wrong=lambda eqx: v(eqx, lambda x, y: x, X, Y, in_axes=(0,)),
    in_axes_list=lambda eqx: v(eqx, lambda x, y: x + y, X, Y, in_axes=[0, None]),
    in_axes_dict=lambda eqx: v(eqx, lambda x, y: x + y, X, Y, in_axes={"x": 0, "y": None}),
    in_axes_dict_partial=lambda eqx: v(eqx, lambda x, y: x + y, X, jnp.ones(2), in_axes={"x": 0}),
    in_axes_dict_unknown=lambda eqx: v(eqx, lambda x: x, X, in_axes={"z": 0}),
    in_axes_tree=lambda eqx: v(
        eqx, lambda t: t["a"] + t["b"], {"a": X, "b": Y}, in_axes=({"a": 0, "b": None},)
    ),
    in_axes_negative=lambda eqx: v(eqx, lambda x: x.sum(), X, in_axes=-1),
    in_axes_none=lambda eqx: v(eqx, lambda x: x, X, in_axes=None),
    in_axes_none_size=lambda eqx: v(eqx, lambda x: x, Y, in_axes=None, axis_size=2),
    in_axes_out_of_range=lambda eqx: v(eqx, lambda x: x, X, in_axes=5),
    in_axes_string=lambda eqx: v(eqx, lambda x: x, X, in_axes="a"),
    in_axes_callable=lambda eqx: v(eqx, lambda x, y: x + y, X, Y, in_axes=(lambda leaf: 0, None)),
    in_axes_single_function=lambda eqx: v(eqx, lambda x: x.sum(), X, in_axes=eqx.if_array(1)),
    in_axes_static_with_0=lambda eqx: v(eqx, lambda x, s: x, X, "s", in_axes=(0, 0)),
    in_axes_float_with_0=lambda eqx: v(eqx, lambda x, s: x, X, 1.0, in_axes=(0, 0)),
    in_axes_model=lambda eqx: v(
        eqx, lambda m, x: m(x), linear(eqx), jnp.ones((4, 2)), in_axes=(None, 0)
    ),
    ensemble=lambda eqx: v(
        eqx,
        lambda m, x: m(x),
        v(eqx, lambda k: eqx.nn.Linear(2, 3, key=k), jax.random.split(jax.random.PRNGKey(0), 3)),
        jnp.ones(2),
        in_axes=(eqx.if_array(0), None),
    ),
    makes_models=lambda eqx: v(
        eqx, lambda k: eqx.nn.Linear(2, 3, key=k), jax.random.split(jax.random.PRNGKey(0), 3)
    ),
    keywords=lambda eqx: v(eqx, lambda x, y: x + y, X, kw={"y": jnp.arange(2.0)}),
    keywords_in_axes=lambda eqx: v(eqx, lambda x, y: x + y, X, kw={"y": Y}, in_axes={"y": None}),
    keyword_only=lambda eqx: v(eqx, lambda x, *, y: x + y, X, kw={"y": jnp.arange(2.0)}),
    var_positional=lambda eqx: v(eqx, lambda *a: a[0] + a[1], X, X),
    var_keywords=lambda eqx: v(eqx, lambda **k: k["a"], kw={"a": X}),
    default_argument=lambda eqx: v(eqx, lambda x, y=Y: x + y, X),
    out_axes=lambda eqx: v(eqx, lambda x: x * 2, X, out_axes=1),
    out_axes_tuple=lambda eqx: v(eqx, lambda x: (x, x.sum()), X, out_axes=(1, 0)),
    out_axes_none=lambda eqx: v(eqx, lambda x, y: y, X, Y, in_axes=(0, None), out_axes=None),
    out_axes_none_mapped=lambda eqx: v(eqx, lambda x: x, X, out_axes=None),
    out_axes_callable=lambda eqx: v(eqx, lambda x: (x, "s"), X, out_axes=eqx.if_array(1)),
    out_static=lambda eqx: v(eqx, lambda x: (x, "s", None, 1), X),
    out_function=lambda eqx: v(eqx, lambda x: jnp.sin, X) is jnp.sin,
    out_unmapped=lambda eqx: v(eqx, lambda x: jnp.ones(2), X),
    out_numpy=lambda eqx: v(eqx, lambda x: np.ones(2), X),
    out_number=lambda eqx: v(eqx, lambda x: (x, 1.0), X),
    axis_name=lambda eqx: v(eqx, lambda x: jax.lax.psum(x, "i"), X, axis_name="i"),
    axis_size=lambda eqx: v(eqx, lambda: jnp.ones(2), axis_size=3),
    axis_size_wrong=lambda eqx: v(eqx, lambda x: x, X, axis_size=5),
    axis_index=lambda eqx: v(eqx, lambda: jax.lax.axis_index("i"), axis_name="i", axis_size=3),
    nothing_mapped=lambda eqx: v(eqx, lambda x: x, "s"),
    no_arguments=lambda eqx: v(eqx, lambda: 1),
    spmd=lambda eqx: v(eqx, lambda x: x, X, spmd_axis_name="d"),
    unknown_option=lambda eqx: v(eqx, lambda x: x, X, nonsense=1),
    decorator=lambda eqx: eqx.filter_vmap(in_axes=1)(lambda x: x.sum())(X),
    name=lambda eqx: eqx.filter_vmap(linear).__name__,
    signature=lambda eqx: str(inspect.signature(eqx.filter_vmap(lambda x, *, y=1: x))),
    of_a_module=lambda eqx: v(eqx, linear(eqx), jnp.ones((4, 2))),
    of_a_method=lambda eqx: v(eqx, linear(eqx).__call__, jnp.ones((4, 2))),
    fn_axes=lambda eqx: v(eqx, linear(eqx), jnp.ones((4, 2)), fn=None),
    nested=lambda eqx: eqx.filter_vmap(eqx.filter_vmap(lambda x: x * 2))(X),
    jitted=lambda eqx: eqx.filter_jit(eqx.filter_vmap(lambda x: x.sum()))(X),
    of_grad=lambda eqx: v(eqx, eqx.filter_grad(lambda x: (x**2).sum()), X),
    grad_of=lambda eqx: eqx.filter_grad(lambda m: v(eqx, m, jnp.ones((4, 2))).sum())(linear(eqx)),
    keys=lambda eqx: v(eqx, jax.random.uniform, jax.random.split(jax.random.key(0), 3)),
    zero=lambda eqx: v(eqx, lambda x: x * 2, jnp.ones((0, 2))),
    none_argument=lambda eqx: v(eqx, lambda x, n: x, X, None),
    none_in_axes_0=lambda eqx: v(eqx, lambda x, n: x, X, None, in_axes=(0, 0)),
    raises=lambda eqx: v(eqx, lambda x: [][0], X),
    wrong_call=lambda eqx: v(eqx, lambda x: x, X, X),
    prefix_module=lambda eqx: v(
        eqx,
        lambda m, x: m.weight @ x,
        eqx.tree_at(lambda m: m.weight, linear(eqx), jnp.ones((4, 3, 2))),
        jnp.ones(2),
        in_axes=(
            eqx.tree_at(
                lambda m: m.weight,
                jax.tree.map(lambda _: None, linear(eqx)),
                0,
                is_leaf=lambda x: x is None,
            ),
            None,
        ),
    ),
    dict_argument_default=lambda eqx: v(eqx, lambda t: t["x"] * t["n"], {"x": X, "n": 3, "s": "x"}),
)


short(
    "if_array",
    of_array=lambda eqx: eqx.if_array(1)(jnp.ones(2)),
    of_numpy=lambda eqx: eqx.if_array(1)(np.ones(2)),
    of_other=lambda eqx: eqx.if_array(1)("s"),
    repr=lambda eqx: repr(eqx.if_array(0)),
    axis=lambda eqx: eqx.if_array(0).axis,
    equal=lambda eqx: eqx.if_array(0) == eqx.if_array(0),
    leaves=lambda eqx: jax.tree.leaves(eqx.if_array(0)),
)


@program("filter_vmap")
def batch_norm(eqx):
    model, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="batch")
    return eqx.filter_vmap(model, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(
        jnp.arange(12.0).reshape(4, 3), state
    )[0]


@program("filter_vmap", "filter_jit")
def mixed_ensemble_training(eqx):
    @eqx.filter_vmap
    def make(key):
        return eqx.nn.MLP(2, 1, 3, 1, key=key)

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(eqx.if_array(0), None))
    def evaluate(model, x):
        return model(x)

    return evaluate(make(jax.random.split(jax.random.PRNGKey(0), 3)), jnp.ones(2))
