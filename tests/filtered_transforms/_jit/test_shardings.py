"""`in_shardings` and `out_shardings` of `filter_jit`, against `jax.jit` with the same ones."""

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_device_put, filter_grad, filter_jit, if_array
from pytree_module import Module
from tree_surgery import ShardingRules, tree_shardings

MESH = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
EXPLICIT = jax.make_mesh(
    (2,), ("data",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:2]
)
SPLIT, COPIED = NamedSharding(MESH, P("data")), NamedSharding(MESH, P())
X = np.arange(8.0, dtype=np.float32)


class Net(Module):
    weight: Any
    bias: Any
    activation: Any = jax.nn.relu

    def __call__(self, x: Any) -> Any:
        return self.activation(self.weight @ x + self.bias)

    @filter_jit(in_shardings=(SPLIT, COPIED), out_shardings=SPLIT)
    def jitted(self, x: Any) -> Any:
        return self(x)

    @filter_jit(in_shardings={"x": SPLIT})
    def by_name(self, x: Any) -> Any:
        return self(x)


def net() -> Net:
    weight = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(4, 8)
    return Net(weight, np.ones(4, np.float32))


def starts_where(program: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """The shardings of the flat list of arrays that the compiled program takes."""
    return jax.tree.leaves(program.lower(*args, **kwargs).compile().input_shardings)


def test_in_order_and_by_name():
    def step(model: Net, x: Any, name: str = "y") -> Any:
        return {name: model(x)}

    expected = net()(jnp.asarray(X))
    for given in ((SPLIT, COPIED), (SPLIT, COPIED, None), {"model": SPLIT, "x": COPIED}):
        program = filter_jit(step, in_shardings=given, out_shardings={"y": SPLIT})
        for args, kwargs in (
            ((net(), X), {}),
            ((net(),), {"x": X}),
            ((), {"x": X, "model": net()}),
        ):
            found = program(*args, **kwargs)["y"]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert found.sharding == SPLIT
        assert starts_where(program, net(), X) == [SPLIT, SPLIT, COPIED]
        assert starts_where(program, model=net(), x=X) == [SPLIT, SPLIT, COPIED]
    everywhere = filter_jit(step, in_shardings=SPLIT)
    assert starts_where(everywhere, net(), X) == [SPLIT] * 3


def test_trees_prefixes_none_and_functions():
    rows = jax.tree.map(lambda _: SPLIT, net())  # its function is a leaf as well
    mixed = Net(SPLIT, None, None)
    by_path = lambda path, leaf: SPLIT if path == "weight" else COPIED  # noqa: E731
    for given, expected in (
        (rows, [SPLIT, SPLIT]),
        (if_array(SPLIT), [SPLIT, SPLIT]),
        (by_path, [SPLIT, COPIED]),
    ):
        program = filter_jit(
            lambda model: model.weight.sum(), in_shardings=(given,), keep_unused=True
        )
        assert starts_where(program, net()) == expected
    program = filter_jit(lambda model: model, in_shardings=(mixed,), out_shardings=by_path)
    out = program(net())
    assert out.activation is jax.nn.relu
    assert (out.weight.sharding, out.bias.sharding) == (SPLIT, COPIED)


def test_functions_see_each_shape():
    def where(path: str, leaf: Any) -> Any:
        return SPLIT if leaf.shape[0] % 2 == 0 else COPIED

    program = filter_jit(lambda x: 2 * x, in_shardings=where, out_shardings=where)
    for size in (8, 7, 8, 6):
        found = program(X[:size])
        np.testing.assert_array_equal(found, 2 * X[:size])
        assert found.sharding == (COPIED if size == 7 else SPLIT)


@pytest.mark.parametrize("mesh", [MESH, EXPLICIT], ids=["auto", "explicit"])
def test_specs_and_rules_on_the_mesh_around(mesh: Any):
    rules = ShardingRules([("weight", P("data")), ("**", P())])
    with jax.set_mesh(mesh):
        make = filter_jit(lambda scale: Net(X * scale, X), out_shardings=rules)
        made = make(2.0)
        expected = tree_shardings(made, rules, mesh)
        assert made.weight.sharding == expected.weight == NamedSharding(mesh, P("data"))
        assert made.bias.sharding.is_fully_replicated
        program = filter_jit(lambda model: model.weight, in_shardings=(rules,), out_shardings=P())
        np.testing.assert_array_equal(program(Net(X, X)), X)
        assert starts_where(program, Net(X, X))[0] == NamedSharding(mesh, P("data"))


def test_the_same_specs_on_another_mesh():
    program = filter_jit(lambda x: x + 1, in_shardings=P("data"), out_shardings=P("data"))
    other = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    for mesh in (MESH, other, MESH):
        with jax.set_mesh(mesh):
            assert program(X).sharding == NamedSharding(mesh, P("data"))


def test_methods():
    expected = net()(jnp.asarray(X))
    for found in (net().jitted(X), Net.jitted(net(), X)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.sharding == SPLIT
    assert starts_where(net().by_name, X)[-1] == SPLIT
    compiled = net().jitted.lower(X).compile()
    np.testing.assert_allclose(compiled(X), expected, rtol=1e-6)
    # A callable tree: its own arrays stay where they are.
    program = filter_jit(net(), in_shardings=(SPLIT,))
    assert starts_where(program, X)[-1] == SPLIT


def test_donated_arrays_give_their_memory():
    program = filter_jit(
        lambda x, y: x + y, donate="all", in_shardings=(SPLIT, COPIED), out_shardings=SPLIT
    )
    x, y = jax.device_put(X, SPLIT), jax.device_put(X, COPIED)
    np.testing.assert_array_equal(program(x, y), 2 * X)
    assert x.is_deleted() and not y.is_deleted()


@pytest.mark.parametrize("where", [SPLIT, COPIED])
def test_what_lies_as_the_result_is_donated_first(where: Any):
    # As `jax.jit` does, which donates all that it is told.
    options: dict[str, Any] = {"in_shardings": (SPLIT, COPIED), "out_shardings": where}
    program = filter_jit(lambda x, y: x + y, donate="all", **options)
    x, y = jax.device_put(X, SPLIT), jax.device_put(X, COPIED)
    np.testing.assert_array_equal(program(x, y), 2 * X)
    assert (x.is_deleted(), y.is_deleted()) == (where is SPLIT, where is COPIED)


def test_gradients_vmap_and_nesting():
    inner = filter_jit(lambda w, x: (w * x).sum(), in_shardings=(SPLIT, COPIED))
    np.testing.assert_allclose(filter_grad(inner)(jnp.ones(8), X), X)
    outer = filter_jit(filter_grad(inner), out_shardings=SPLIT)
    assert outer(jnp.ones(8), X).sharding == SPLIT
    np.testing.assert_allclose(jax.vmap(inner, (None, 0))(X, jnp.stack([X, X])), [140.0, 140.0])


def test_one_trace_whatever_is_called():
    traces = []

    def f(x: Any, n: int) -> Any:
        traces.append(n)
        return x * n

    program = filter_jit(f, in_shardings=(SPLIT, None), out_shardings=COPIED)
    for _ in range(3):
        program(X, 2)
    filter_jit(f, in_shardings=(SPLIT, None), out_shardings=COPIED)(X, 2)
    copy.copy(program)(X, 2)
    assert traces == [2]
    program(X, 3)
    assert traces == [2, 3]


def test_without_jit():
    with jax.disable_jit():
        found = filter_jit(lambda x: x + 1, in_shardings=SPLIT, out_shardings=SPLIT)(X)
    assert found.sharding == SPLIT


def module_level(x: Any) -> Any:
    return x + 1


def test_pickle():
    specs: dict[str, Any] = {"in_shardings": (P("data"),), "out_shardings": P()}
    program = filter_jit(module_level, **specs)
    again = pickle.loads(pickle.dumps(program))
    assert again == program and again.registry is program.registry
    with jax.set_mesh(MESH):
        assert again(X).sharding.is_fully_replicated


class Wrong:
    pass


@pytest.mark.parametrize(
    ("options", "args", "error", "message"),
    [
        ({"in_shardings": {"z": SPLIT}}, None, ValueError, r"names 'z', .* it has 'x', 'y'"),
        ({"in_shardings": (SPLIT,) * 3}, (X, X), ValueError, "3 entries.* has 2: 'x', 'y'"),
        ({"in_shardings": (SPLIT,)}, (X, X), ValueError, "1 entries, and none for y"),
        (
            {"in_shardings": ({"a": SPLIT}, None)},
            (X, X),
            ValueError,
            "`in_shardings of x` does not",
        ),
        ({"in_shardings": (Wrong(), None)}, None, TypeError, r"at \[0\] it has a Wrong"),
        ({"out_shardings": 0}, None, TypeError, "out_shardings=.* at <root> it has a int: 0"),
        ({"in_shardings": lambda path, leaf: 1}, (X, X), TypeError, "gives a int: 1"),
        ({"out_shardings": (SPLIT, SPLIT)}, (X, X), ValueError, "`out_shardings` does not fit"),
        ({"in_shardings": (SPLIT, None)}, (X[:7], X[:7]), ValueError, r"\(7,\) at x,.* 1 elements"),
        ({"out_shardings": SPLIT}, (X[:7], X[:7]), ValueError, r"\(7,\) at the result,.* 1 elem"),
        ({"in_shardings": (P("data"), None)}, (X, X), ValueError, "for x, .*there is none around"),
        (
            {"in_shardings": (NamedSharding(MESH, P(None, "data")), None)},
            (X, X),
            ValueError,
            r"for x, an array of shape \(8,\), which has fewer",
        ),
        (
            {"in_shardings": (ShardingRules([("**", P())]), None)},
            (X, X),
            ValueError,
            "`in_shardings of x` is .* there is none here",
        ),
    ],
)
def test_errors(options: Any, args: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):  # without arguments: as soon as it is wrapped
        program = filter_jit(lambda x, y: x + y, **options)
        assert args is not None
        program(*args)


def test_an_array_that_was_put_elsewhere():
    program = filter_jit(lambda model, x: model(x), in_shardings=(SPLIT, COPIED))
    program(net(), X)
    wrong = filter_device_put(net(), jax.devices()[1])
    with pytest.raises(ValueError, match=r"at model\.weight that was put on .*filter_device_put"):
        program(wrong, X)
    with pytest.raises(ValueError, match=r"shape \(3, 8\) at model\.weight"):
        program(Net(net().weight[:3], net().bias[:3]), X)


def test_an_array_that_the_mesh_around_put_elsewhere():
    program = filter_jit(lambda x: x + 1, in_shardings=P("data"))
    with jax.set_mesh(MESH):
        with pytest.raises(ValueError, match=r"at x that was put on .*\(\)"):
            program(jnp.ones(8))
        assert program(X).sharding == SPLIT


def test_an_axis_that_the_mesh_lacks():
    with (
        jax.set_mesh(MESH),
        pytest.raises(ValueError, match="for x, .* no axis 'zz'; it has 'data'"),
    ):
        filter_jit(lambda x: x, in_shardings=P("zz"))(X)


def test_further_arguments_have_the_entry_of_their_parameter():
    def f(a: Any, *rest: Any, k: Any = None) -> Any:
        return a + sum(rest) + (0 if k is None else k)

    program = filter_jit(f, in_shardings=(COPIED, SPLIT, COPIED))
    assert starts_where(program, X, X, X, k=X) == [COPIED, SPLIT, SPLIT, COPIED]
    program = filter_jit(lambda a, **more: a + sum(more.values()), in_shardings=(COPIED, SPLIT))
    assert starts_where(program, X, b=X, c=X) == [COPIED, SPLIT, SPLIT]


def test_an_error_of_the_function_itself_stays_what_it_is():
    def fails(x: Any) -> Any:
        raise KeyError("my own mistake")

    program = filter_jit(fails, in_shardings=SPLIT)
    elsewhere = jax.device_put(X, jax.devices()[1])
    with jax.disable_jit(), pytest.raises(KeyError, match="my own"):
        program(elsewhere)
    with pytest.raises((KeyError, ValueError)):  # JAX may look at the places first
        program(elsewhere)
    with pytest.raises(KeyError, match="my own"):
        program(X)


@pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="the CPU has one memory there")
def test_results_in_another_memory():
    host = NamedSharding(MESH, P("data"), memory_kind="pinned_host")
    found = filter_jit(lambda x: x + 1, out_shardings=host)(X)
    assert found.sharding == host == jax.jit(lambda x: x + 1, out_shardings=host)(X).sharding
