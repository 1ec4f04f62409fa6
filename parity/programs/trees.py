"""Surgery, equality, checks, printing."""

import dataclasses
import functools
from collections import OrderedDict, defaultdict, namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import wadler_lindig as wl
from registry import program, short

Point = namedtuple("Point", ["x", "y"])


@jax.tree_util.register_pytree_node_class
class Own:
    """A node without keys."""

    def __init__(self, *children):
        self.children = children

    def tree_flatten(self):
        return self.children, None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


def linear(eqx):
    return eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))


def mlp(eqx):
    return eqx.nn.MLP(2, 2, 3, 1, abs, final_activation=abs, key=jax.random.PRNGKey(0))


short(
    "tree_at",
    one=lambda eqx: eqx.tree_at(lambda t: t[0], [1, 2], 3),
    several=lambda eqx: eqx.tree_at(lambda t: (t[0], t[1]), [1, 2], (3, 4)),
    several_list=lambda eqx: eqx.tree_at(lambda t: [t[0], t[1]], [1, 2], [3, 4]),
    several_tuple_list=lambda eqx: eqx.tree_at(lambda t: [t[0], t[1]], [1, 2], (3, 4)),
    single_in_tuple=lambda eqx: eqx.tree_at(lambda t: (t[0],), [1, 2], (3,)),
    single_in_tuple_bare=lambda eqx: eqx.tree_at(lambda t: (t[0],), [1, 2], 3),
    replace_fn=lambda eqx: eqx.tree_at(
        lambda t: t["a"], {"a": 1, "b": 2}, replace_fn=lambda x: x + 1
    ),
    replace_fn_several=lambda eqx: eqx.tree_at(
        lambda t: (t["a"], t["b"]), {"a": 1, "b": 2}, replace_fn=lambda x: x + 1
    ),
    both=lambda eqx: eqx.tree_at(lambda t: t[0], [1], 2, replace_fn=lambda x: x),
    neither=lambda eqx: eqx.tree_at(lambda t: t[0], [1]),
    module=lambda eqx: eqx.tree_at(lambda m: m.bias, linear(eqx), jnp.zeros(3)),
    module_twice=lambda eqx: eqx.tree_at(
        lambda m: (m.layers[0].weight, m.layers[-1].bias), mlp(eqx), (1, "b")
    ),
    whole=lambda eqx: eqx.tree_at(lambda t: t, [1, 2], "x"),
    subtree=lambda eqx: eqx.tree_at(lambda t: t["a"], {"a": [1, 2], "b": 3}, "leaf"),
    subtree_fn=lambda eqx: eqx.tree_at(lambda t: t["a"], {"a": [1, 2], "b": 3}, replace_fn=len),
    leaf_by_subtree=lambda eqx: eqx.tree_at(lambda t: t["b"], {"a": 1, "b": 3}, [1, {"c": 2}]),
    by_none=lambda eqx: eqx.tree_at(lambda t: t[0], [1, 2], None),
    of_none=lambda eqx: eqx.tree_at(lambda t: t[0], [None, 2], 1, is_leaf=lambda x: x is None),
    of_none_without=lambda eqx: eqx.tree_at(lambda t: t[0], [None, 2], 1),
    of_two_nones=lambda eqx: eqx.tree_at(
        lambda t: (t[0], t[1]), [None, None], (1, 2), is_leaf=lambda x: x is None
    ),
    of_two_nones_without=lambda eqx: eqx.tree_at(lambda t: (t[0], t[1]), [None, None], (1, 2)),
    of_the_bias_none=lambda eqx: eqx.tree_at(
        lambda m: m.bias,
        eqx.nn.Linear(2, 3, use_bias=False, key=jax.random.PRNGKey(0)),
        jnp.zeros(3),
        is_leaf=lambda x: x is None,
    ),
    same_node_twice=lambda eqx: eqx.tree_at(lambda t: (t[0], t[0]), [1, 2], (3, 4)),
    shared_leaf=lambda eqx: (lambda x: eqx.tree_at(lambda t: t[0], [x, x], 0))(jnp.ones(2)),
    equal_ints=lambda eqx: eqx.tree_at(lambda t: t[1], [1, 1, 1], 0),
    equal_strings=lambda eqx: eqx.tree_at(lambda t: t["b"], {"a": "s", "b": "s"}, 0),
    nothing=lambda eqx: eqx.tree_at(lambda t: (), [1, 2], ()),
    nothing_fn=lambda eqx: eqx.tree_at(lambda t: [], [1, 2], replace_fn=lambda x: x),
    too_few=lambda eqx: eqx.tree_at(lambda t: (t[0], t[1]), [1, 2], (3,)),
    too_many=lambda eqx: eqx.tree_at(lambda t: (t[0],), [1, 2], (3, 4)),
    not_in_tree=lambda eqx: eqx.tree_at(lambda t: 5, [1, 2], 3),
    computed=lambda eqx: eqx.tree_at(lambda t: t[0] + 1, [1, 2], 3),
    computed_array=lambda eqx: eqx.tree_at(lambda t: t[0] * 2, [jnp.ones(2), 2], 3),
    indexed_array=lambda eqx: eqx.tree_at(lambda t: t[0][0], [jnp.ones(2), 2], 3),
    depends_on_values=lambda eqx: eqx.tree_at(
        lambda t: t[0] if t[0] is None or t[0] == 1 else t[1], [1, 2], 3
    ),
    missing_key=lambda eqx: eqx.tree_at(lambda t: t["c"], {"a": 1}, 3),
    missing_attribute=lambda eqx: eqx.tree_at(lambda t: t.nothing, linear(eqx), 3),
    missing_index=lambda eqx: eqx.tree_at(lambda t: t[5], [1, 2], 3),
    static=lambda eqx: eqx.tree_at(lambda m: m.in_features, linear(eqx), 5),
    static_and_leaf=lambda eqx: eqx.tree_at(lambda m: (m.in_features, m.bias), linear(eqx), (5, 6)),
    overlapping=lambda eqx: eqx.tree_at(lambda t: (t["a"], t["a"][0]), {"a": [1, 2]}, (0, 0)),
    slice_of_list=lambda eqx: eqx.tree_at(lambda t: t[1:], [1, 2, 3], [4, 5]),
    slice_single=lambda eqx: eqx.tree_at(lambda t: t[:1], [1, 2, 3], [4]),
    values=lambda eqx: eqx.tree_at(lambda t: list(t.values()), {"a": 1, "b": 2}, [4, 5]),
    namedtuple=lambda eqx: eqx.tree_at(lambda t: t.y, Point(1, 2), 3),
    namedtuple_whole=lambda eqx: eqx.tree_at(lambda t: t[0], [Point(1, 2), 3], Point(5, 6)),
    ordered_dict=lambda eqx: eqx.tree_at(lambda t: t["b"], OrderedDict(b=1, a=2), 3),
    defaultdict=lambda eqx: eqx.tree_at(lambda t: t["b"], defaultdict(int, b=1, a=2), 3),
    own_node=lambda eqx: eqx.tree_at(lambda t: t.children[1], Own(1, 2), 3).children,
    is_leaf=lambda eqx: eqx.tree_at(
        lambda t: t[0], [(1, 2), 3], "x", is_leaf=lambda x: isinstance(x, tuple)
    ),
    keyword=lambda eqx: eqx.tree_at(where=lambda t: t[0], pytree=[1], replace=2),
    keeps_original=lambda eqx: (lambda t: (eqx.tree_at(lambda t: t[0], t, 3), t))([1, 2]),
    tuple_of_tuples=lambda eqx: eqx.tree_at(lambda t: ((t[0], t[1]), t[2]), [1, 2, 3], ((4, 5), 6)),
    dict_result=lambda eqx: eqx.tree_at(lambda t: {"x": t[0], "y": t[1]}, [1, 2], {"x": 3, "y": 4}),
    where_module=lambda eqx: eqx.tree_at(lambda m: m.layers[0], mlp(eqx), linear(eqx)),
    where_list_in_module=lambda eqx: eqx.tree_at(lambda m: m.layers, mlp(eqx), (1, 2)),
    filtered=lambda eqx: eqx.tree_at(
        lambda m: m.weight, eqx.filter(linear(eqx), eqx.is_array), replace_fn=jnp.shape
    ),
    bools=lambda eqx: eqx.tree_at(
        lambda m: (m.weight, m.bias), jax.tree.map(lambda _: False, linear(eqx)), (True, True)
    ),
    method=lambda eqx: eqx.tree_at(
        lambda f: f.__self__.weight, linear(eqx).__call__, jnp.zeros((3, 2))
    )(jnp.ones(2)),
    zero_size=lambda eqx: eqx.tree_at(lambda t: t[0], [jnp.ones(0), jnp.ones(0)], 1),
    traced=lambda eqx: jax.jit(lambda t: eqx.tree_at(lambda t: t[0], t, t[1] * 2))([1.0, 2.0]),
    structs=lambda eqx: eqx.tree_at(
        lambda t: t[0], eqx.filter_eval_shape(lambda: [jnp.ones(2), jnp.ones(3)]), 1
    ),
    function_leaf=lambda eqx: (
        eqx.tree_at(lambda t: t["f"], {"f": jnp.sin, "x": 1}, jnp.cos)["f"] is jnp.cos
    ),
    attrs_of_partial=lambda eqx: eqx.tree_at(lambda p: p.args[0], eqx.Partial(jnp.add, 1), 5)(2),
    jax_partial=lambda eqx: eqx.tree_at(lambda p: p.args[0], jax.tree_util.Partial(jnp.add, 1), 5)(
        2
    ),
)


short(
    "tree_equal",
    lists=lambda eqx: bool(eqx.tree_equal([1, 2], [1, 2])),
    lists_not=lambda eqx: bool(eqx.tree_equal([1, 2], [1, 3])),
    structure=lambda eqx: bool(eqx.tree_equal([1, 2], (1, 2))),
    three=lambda eqx: (bool(eqx.tree_equal([1], [1], [1])), bool(eqx.tree_equal([1], [1], [2]))),
    one=lambda eqx: bool(eqx.tree_equal([1])),
    none=lambda eqx: bool(eqx.tree_equal()),
    arrays=lambda eqx: bool(eqx.tree_equal(jnp.ones(2), jnp.ones(2))),
    arrays_type=lambda eqx: bool(eqx.tree_equal(jnp.ones(2), np.ones(2, "f4"))),
    arrays_typematch=lambda eqx: bool(
        eqx.tree_equal(jnp.ones(2), np.ones(2, "f4"), typematch=True)
    ),
    arrays_dtype=lambda eqx: bool(eqx.tree_equal(jnp.ones(2), jnp.ones(2, int))),
    arrays_shape=lambda eqx: bool(eqx.tree_equal(jnp.ones(2), jnp.ones((2, 1)))),
    array_number=lambda eqx: bool(eqx.tree_equal(jnp.array(1.0), 1.0)),
    array_number_typematch=lambda eqx: bool(eqx.tree_equal(jnp.array(1), 1, typematch=True)),
    numpy_number=lambda eqx: bool(eqx.tree_equal(np.float32(1), 1.0)),
    numpy_scalar_array=lambda eqx: bool(eqx.tree_equal(np.float32(1), np.array(1, "f4"))),
    int_float=lambda eqx: bool(eqx.tree_equal(1, 1.0)),
    int_float_typematch=lambda eqx: bool(eqx.tree_equal(1, 1.0, typematch=True)),
    int_bool=lambda eqx: bool(eqx.tree_equal(1, True)),
    nan=lambda eqx: bool(eqx.tree_equal(jnp.array(jnp.nan), jnp.array(jnp.nan))),
    nan_python=lambda eqx: bool(eqx.tree_equal(float("nan"), float("nan"))),
    rtol=lambda eqx: bool(eqx.tree_equal(jnp.ones(2), jnp.ones(2) * 1.001, rtol=1e-2)),
    atol=lambda eqx: bool(eqx.tree_equal(jnp.zeros(2), jnp.zeros(2) + 1e-4, atol=1e-3)),
    tolerance_not=lambda eqx: bool(eqx.tree_equal(jnp.zeros(2), jnp.zeros(2) + 1e-2, atol=1e-3)),
    tolerance_ints=lambda eqx: bool(eqx.tree_equal(jnp.arange(2), jnp.arange(2) + 1, atol=2)),
    tolerance_python=lambda eqx: bool(eqx.tree_equal(1.0, 1.1, atol=1)),
    tolerance_numpy=lambda eqx: bool(eqx.tree_equal(np.zeros(2), np.zeros(2) + 1e-4, atol=1e-3)),
    strings=lambda eqx: bool(eqx.tree_equal(["a"], ["a"])),
    functions=lambda eqx: bool(eqx.tree_equal(jnp.sin, jnp.cos)),
    modules=lambda eqx: bool(eqx.tree_equal(linear(eqx), linear(eqx))),
    modules_static=lambda eqx: bool(
        eqx.tree_equal(linear(eqx), eqx.nn.Linear(2, 3, False, key=jax.random.PRNGKey(0)))
    ),
    none_leaf=lambda eqx: bool(eqx.tree_equal([None], [1])),
    keys=lambda eqx: bool(eqx.tree_equal(jax.random.key(0), jax.random.key(0))),
    keys_not=lambda eqx: bool(eqx.tree_equal(jax.random.key(0), jax.random.key(1))),
    empty=lambda eqx: bool(eqx.tree_equal(jnp.ones(0), jnp.ones(0))),
    weak_type=lambda eqx: bool(eqx.tree_equal(jnp.asarray(1.0), jnp.float32(1.0))),
    under_jit=lambda eqx: jax.jit(lambda a, b: eqx.tree_equal(a, b))([1.0, 2.0], [1.0, 2.0]),
    under_jit_static=lambda eqx: (
        lambda out: (jax.jit(lambda a: out.append(eqx.tree_equal(a, (a,))))(1.0), out)[1]
    )([]),
    structs=lambda eqx: bool(
        eqx.tree_equal(jax.ShapeDtypeStruct((1,), "f4"), jax.ShapeDtypeStruct((1,), "f4"))
    ),
    type=lambda eqx: type(eqx.tree_equal([1], [2])).__name__,
)


@program("tree_check")
def check_fine(eqx):
    return eqx.tree_check([1, 1, "a", {"x": (1, 2)}, None, None, jnp.ones(2)])


@program("tree_check")
def check_same_array_twice(eqx):
    x = jnp.ones(2)
    return eqx.tree_check([x, x])


@program("tree_check")
def check_same_list_twice(eqx):
    x = [object()]
    return eqx.tree_check([x, x])


@program("tree_check")
def check_same_module_twice(eqx):
    layer = linear(eqx)
    return eqx.tree_check({"a": layer, "b": layer})


@program("tree_check")
def check_a_cycle(eqx):
    x = []
    x.append(x)
    return eqx.tree_check(x)


@program("tree_check")
def check_same_object_leaf(eqx):
    leaf = object()
    return eqx.tree_check([leaf, leaf])


@program("tree_check")
def check_empty_containers(eqx):
    return eqx.tree_check([(), (), [], []])


@program("tree_check")
def check_same_function_twice(eqx):
    return eqx.tree_check([jnp.sin, jnp.sin, "word", "word", 1000, 1000])


short(
    "tree_flatten_one_level",
    list=lambda eqx: eqx.tree_flatten_one_level([1, [2, 3]])[0],
    dict=lambda eqx: eqx.tree_flatten_one_level({"b": 1, "a": (2,)})[0],
    module=lambda eqx: eqx.tree_flatten_one_level(mlp(eqx))[0],
    leaf=lambda eqx: eqx.tree_flatten_one_level(3),
    none=lambda eqx: eqx.tree_flatten_one_level([None, 1])[0],
    itself_none=lambda eqx: eqx.tree_flatten_one_level(None),
    round_trip=lambda eqx: (lambda c, td: td.unflatten([0, 1]))(
        *eqx.tree_flatten_one_level([[1, 2], 3])
    ),
    own=lambda eqx: eqx.tree_flatten_one_level(Own(1, [2]))[0],
    empty=lambda eqx: eqx.tree_flatten_one_level(())[0],
)


def outer(x):
    return x


short(
    "tree_pformat",
    arrays=lambda eqx: eqx.tree_pformat(
        [jnp.ones(2), np.ones((2, 3)), np.float32(1), jnp.array(1)]
    ),
    dtypes=lambda eqx: eqx.tree_pformat(
        [
            jnp.zeros(1, d)
            for d in ("bool", "int8", "uint16", "bfloat16", "float16", "complex64", "float8_e4m3fn")
        ]
    ),
    key=lambda eqx: eqx.tree_pformat([jax.random.key(0), jax.random.PRNGKey(0)]),
    struct=lambda eqx: eqx.tree_pformat(jax.ShapeDtypeStruct((2,), jnp.float32)),
    struct_as_array=lambda eqx: eqx.tree_pformat(
        jax.ShapeDtypeStruct((2,), jnp.float32), struct_as_array=True
    ),
    long_arrays=lambda eqx: eqx.tree_pformat([jnp.ones(2), np.arange(3)], short_arrays=False),
    long_key=lambda eqx: eqx.tree_pformat(jnp.ones((2, 2)), short_arrays=False),
    scalars=lambda eqx: eqx.tree_pformat([1, 1.5, True, None, "it's", b"x", 1j, ...]),
    containers=lambda eqx: eqx.tree_pformat(
        (
            {"a": [1], 2: ()},
            (1,),
            {
                1,
            },
            frozenset(),
        )
    ),
    width=lambda eqx: eqx.tree_pformat({"first": [1, 2, 3], "second": (4, 5)}, width=20),
    indent=lambda eqx: eqx.tree_pformat({"first": [1, 2, 3], "second": (4, 5)}, width=20, indent=4),
    narrow=lambda eqx: eqx.tree_pformat(linear(eqx), width=10),
    module=lambda eqx: eqx.tree_pformat(linear(eqx)),
    module_width=lambda eqx: eqx.tree_pformat(linear(eqx), width=200),
    filtered=lambda eqx: eqx.tree_pformat(eqx.filter(linear(eqx), eqx.is_array)),
    function=lambda eqx: eqx.tree_pformat([outer, abs, functools.partial(outer, 1)]),
    function_jitted=lambda eqx: eqx.tree_pformat(jax.jit(outer)),
    function_relu=lambda eqx: eqx.tree_pformat(jax.nn.relu),
    function_lambda=lambda eqx: eqx.tree_pformat(lambda x: x),
    function_wrapped=lambda eqx: eqx.tree_pformat(functools.wraps(outer)(lambda x: x)),
    types=lambda eqx: eqx.tree_pformat([int, jnp.float32, np.dtype("int8")]),
    namedtuple=lambda eqx: eqx.tree_pformat(Point(1, jnp.ones(2))),
    ordered=lambda eqx: eqx.tree_pformat(OrderedDict(a=1)),
    defaultdict=lambda eqx: eqx.tree_pformat(defaultdict(int, a=1)),
    dataclass=lambda eqx: eqx.tree_pformat(dataclasses.make_dataclass("D", ["x", "y"])(1, [2])),
    truncate=lambda eqx: eqx.tree_pformat([1, [2, 3]], truncate_leaf=lambda x: x == [2, 3]),
    nested=lambda eqx: eqx.tree_pformat([mlp(eqx), {"opt": (mlp(eqx), 3)}], width=60),
    traced=lambda eqx: (
        lambda out: (jax.jit(lambda x: (out.append(eqx.tree_pformat(x)), x)[1])({"a": 1.0}), out)[1]
    )([]),
    vmapped=lambda eqx: (
        lambda out: (
            jax.vmap(lambda x: (out.append(eqx.tree_pformat(x)), x)[1])(jnp.ones((2, 3))),
            out,
        )[1]
    )([]),
    multiline=lambda eqx: eqx.tree_pformat("a\nb"),
    method=lambda eqx: eqx.tree_pformat(linear(eqx).__call__),
    partial=lambda eqx: eqx.tree_pformat(eqx.Partial(outer, jnp.ones(2), k=3)),
    own_object=lambda eqx: eqx.tree_pformat(object()),
    static=lambda eqx: eqx.tree_pformat(
        eqx.nn.Conv2d(1, 1, 2, key=jax.random.PRNGKey(0)), width=40
    ),
    dtype_leaf=lambda eqx: eqx.tree_pformat(jnp.dtype("bfloat16")),
    zero_d_numpy=lambda eqx: eqx.tree_pformat(np.array(3)),
    numpy_object=lambda eqx: eqx.tree_pformat(np.array(["a", "b"])),
    dict_module=lambda eqx: eqx.tree_pformat({"layer": linear(eqx)}, width=30, indent=1),
    unknown=lambda eqx: eqx.tree_pformat([1], nonsense=True),
    hide_defaults=lambda eqx: eqx.tree_pformat(
        dataclasses.make_dataclass("D", [("x", int, 1)])(1), hide_defaults=False
    ),
)


@program("tree_pprint")
def pprint(eqx):
    return eqx.tree_pprint({"a": jnp.ones(2)}, width=10)


@program("tree_pprint")
def pprint_model(eqx):
    return eqx.tree_pprint(mlp(eqx))


@program("internal.TreeWLCustom")
def wl_custom(eqx):
    custom = eqx.internal.TreeWLCustom(
        truncate_leaf=lambda x: False, short_arrays=True, struct_as_array=False
    )
    return custom(jnp.ones(2)) is not None, custom([1])


@program("internal.TreeWLCustom", "tree_pformat")
def wl_custom_options(eqx):
    tree = {"a": jnp.ones(2), "s": jax.ShapeDtypeStruct((2,), jnp.int8), "n": [1, "x"]}
    shown = []
    for short_arrays in (True, False):
        for as_array in (True, False):
            options = {"short_arrays": short_arrays, "struct_as_array": as_array}
            custom = eqx.internal.TreeWLCustom(lambda x: isinstance(x, list), **options)
            shown += [wl.pformat(tree, custom=custom), eqx.tree_pformat(tree, **options)]
    return shown


short(
    "internal.str2jax",
    same=lambda eqx: eqx.internal.str2jax("a") == eqx.internal.str2jax("a"),
    leaves=lambda eqx: len(jax.tree.leaves(eqx.internal.str2jax("a"))),
    hash=lambda eqx: isinstance(hash(eqx.internal.str2jax("b")), int),
    through_jit=lambda eqx: jax.jit(lambda x: x)(eqx.internal.str2jax("a")) is not None,
)
short(
    "internal.doc_repr",
    repr=lambda eqx: repr(eqx.internal.doc_repr(3, "three")),
    value=lambda eqx: eqx.internal.doc_repr(3, "three") == 3,
)


@program("internal.doc_remove_args")
def doc_remove_args(eqx):
    @eqx.internal.doc_remove_args("hidden")
    def f(x, hidden=1):
        return x + hidden

    return f(1), f(1, hidden=3)


@program("internal.GetKey")
def get_key(eqx):
    get = eqx.internal.GetKey(3)
    first, second = get(), get()
    return first, second, get.seed


@program("internal.GetKey")
def get_key_random(eqx):
    get = eqx.internal.GetKey()
    return isinstance(get.seed, int), get().shape


short(
    "internal.left_broadcast_to",
    right=lambda eqx: eqx.internal.left_broadcast_to(jnp.arange(2), (2, 3)),
    same=lambda eqx: eqx.internal.left_broadcast_to(jnp.arange(2), (2,)),
    scalar=lambda eqx: eqx.internal.left_broadcast_to(jnp.array(1), (2, 1)),
    wrong=lambda eqx: eqx.internal.left_broadcast_to(jnp.arange(3), (2, 3)),
    fewer=lambda eqx: eqx.internal.left_broadcast_to(jnp.ones((2, 3)), (2,)),
)
short(
    "internal.nextafter",
    value=lambda eqx: eqx.internal.nextafter(jnp.array([0.0, 1.0, -1.0, jnp.inf])),
    grad=lambda eqx: jax.grad(eqx.internal.nextafter)(1.0),
    integers=lambda eqx: eqx.internal.nextafter(jnp.arange(2)),
    half=lambda eqx: eqx.internal.nextafter(jnp.ones(2, jnp.float16)),
)
short(
    "internal.prevbefore",
    value=lambda eqx: eqx.internal.prevbefore(jnp.array([0.0, 1.0, -1.0, jnp.inf])),
    grad=lambda eqx: jax.grad(eqx.internal.prevbefore)(1.0),
    jvp=lambda eqx: jax.jvp(eqx.internal.prevbefore, (1.0,), (2.0,)),
)


def ω(eqx):
    return eqx.internal.ω


def isinstance_of(kind, x):
    return isinstance(x, kind)


def is_a(kind):
    return lambda x: isinstance(x, kind)


def with_leaves(eqx, first, second):
    return (ω(eqx)([(1, 2)], is_leaf=first) + ω(eqx)([(3, 4)], is_leaf=second)).ω


short(
    "internal.ω",
    add=lambda eqx: (ω(eqx)([1, 2]) + ω(eqx)([3, 4])).ω,
    scalar=lambda eqx: (ω(eqx)({"a": jnp.ones(2)}) * 3).ω,
    power=lambda eqx: ([1, 2] ** ω(eqx)).ω,
    right=lambda eqx: (2 - ω(eqx)([1, 2])).ω,
    negative=lambda eqx: (-ω(eqx)([1, 2])).ω,
    index=lambda eqx: (ω(eqx)([jnp.arange(3)])[1]).ω,
    at=lambda eqx: (ω(eqx)([jnp.arange(3)]).at[1].set(ω(eqx)([9]))).ω,
    call=lambda eqx: (ω(eqx)([jnp.zeros(2)]).call(jnp.cos)).ω,
    structure=lambda eqx: (ω(eqx)([1]) + ω(eqx)([1, 2])).ω,
    is_leaf=lambda eqx: ω(eqx)([(1, 2)], is_leaf=lambda x: isinstance(x, tuple)).ω,
    is_leaf_alike=lambda eqx: with_leaves(eqx, is_a(tuple), is_a(tuple)),
    is_leaf_written_twice=lambda eqx: with_leaves(
        eqx, lambda x: isinstance(x, tuple), lambda y: isinstance(y, tuple)
    ),
    is_leaf_partial=lambda eqx: with_leaves(
        eqx, functools.partial(isinstance_of, tuple), functools.partial(isinstance_of, tuple)
    ),
    is_leaf_differs=lambda eqx: with_leaves(eqx, is_a(tuple), lambda x: False),
    is_leaf_of_one=lambda eqx: with_leaves(eqx, is_a(tuple), None),
    is_leaf_of_the_other=lambda eqx: with_leaves(eqx, None, is_a(tuple)),
    matmul=lambda eqx: (ω(eqx)([jnp.ones((2, 2))]) @ ω(eqx)([jnp.ones(2)])).ω,
    compare=lambda eqx: (ω(eqx)([1, 5]) > 2).ω,
    none=lambda eqx: (ω(eqx)([1, None]) + ω(eqx)([1, None])).ω,
    repr=lambda eqx: repr(ω(eqx)([1, 2])),
    leaf=lambda eqx: (ω(eqx)(3) / 2).ω,
)


@program("internal.ContainerMeta")
def container(eqx):
    class Codes(metaclass=eqx.internal.ContainerMeta):
        a = "first"
        b = "second"

    return len(Codes), Codes.a == Codes.a, bool(Codes.a == Codes.b), Codes[Codes.b]


@program("internal.ContainerMeta")
def container_promote(eqx):
    class Base(metaclass=eqx.internal.ContainerMeta):
        a = "first"

    class More(Base):
        b = "second"

    return len(More), More[More.promote(Base.a)], More[More.b]
