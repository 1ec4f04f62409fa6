"""Saving and loading leaves."""

import io
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def linear(eqx, key=0):
    return eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(key))


def there_and_back(eqx, tree, like=None, save=None, load=None, **options):
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, tree, **({"filter_spec": save} if save else {}), **options)
    file.seek(0)
    like = tree if like is None else like
    return eqx.tree_deserialise_leaves(
        file, like, **({"filter_spec": load} if load else {}), **options
    )


short(
    "tree_serialise_leaves",
    arrays=lambda eqx: there_and_back(eqx, [jnp.arange(3), jnp.ones((2, 2))]),
    numpy=lambda eqx: there_and_back(eqx, [np.arange(3), np.ones((1, 1))]),
    numpy_scalars=lambda eqx: there_and_back(eqx, [np.float64(0.1), np.int8(3), np.bool_(True)]),
    python=lambda eqx: there_and_back(eqx, [1, 0.1, True, 1 + 2j, 2**40, -1]),
    others_from_like=lambda eqx: there_and_back(eqx, ["a", jnp.sin, None], ["b", jnp.cos, None])[0],
    half=lambda eqx: there_and_back(eqx, [jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16)]),
    zero_size=lambda eqx: there_and_back(eqx, [jnp.ones((0, 3))]),
    scalar_array=lambda eqx: there_and_back(eqx, jnp.array(2.5)),
    model=lambda eqx: there_and_back(eqx, linear(eqx, 0), linear(eqx, 1)),
    state=lambda eqx: there_and_back(
        eqx, eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "b", mode="ema")
    ),
    structs_as_like=lambda eqx: there_and_back(
        eqx, linear(eqx), eqx.filter_eval_shape(lambda: linear(eqx))
    ),
    weak_type=lambda eqx: there_and_back(eqx, [jnp.asarray(1.0)]),
    bytes_length=lambda eqx: written(eqx, [jnp.ones(3), 1, 2.0, "a"]),
    is_leaf=lambda eqx: there_and_back(
        eqx,
        [(1, 2), 3],
        save=lambda f, x: None if isinstance(x, tuple) else eqx.default_serialise_filter_spec(f, x),
        load=lambda f, x: x if isinstance(x, tuple) else eqx.default_deserialise_filter_spec(f, x),
        is_leaf=lambda x: isinstance(x, tuple),
    ),
    spec_tree=lambda eqx: there_and_back(
        eqx,
        [jnp.ones(2), jnp.zeros(2)],
        save=[eqx.default_serialise_filter_spec, lambda f, x: None],
        load=[eqx.default_deserialise_filter_spec, lambda f, x: "skipped"],
    ),
    spec_prefix=lambda eqx: there_and_back(
        eqx,
        {"a": [jnp.ones(2), 1], "b": 3},
        save={"a": eqx.default_serialise_filter_spec, "b": lambda f, x: None},
        load={"a": eqx.default_deserialise_filter_spec, "b": lambda f, x: x + 1},
    ),
    spec_wrong=lambda eqx: there_and_back(eqx, [1], save=[1, 2]),
    keys_typed=lambda eqx: there_and_back(eqx, jax.random.key(0)),
)


def written(eqx, tree):
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, tree)
    return len(file.getvalue())


short(
    "tree_deserialise_leaves",
    wrong_shape=lambda eqx: there_and_back(eqx, [jnp.ones(2)], [jnp.ones(3)]),
    wrong_dtype=lambda eqx: there_and_back(eqx, [jnp.ones(2)], [jnp.arange(2)]),
    wider_dtype=lambda eqx: there_and_back(eqx, [jnp.ones(2, jnp.float16)], [jnp.ones(2)]),
    wrong_count=lambda eqx: there_and_back(eqx, [jnp.ones(2)], [jnp.ones(2), jnp.ones(2)]),
    fewer=lambda eqx: there_and_back(eqx, [jnp.ones(2), jnp.ones(2)], [jnp.ones(2)]),
    array_into_number=lambda eqx: there_and_back(eqx, [jnp.ones(2)], [1.0]),
    number_into_array=lambda eqx: there_and_back(eqx, [1.0], [jnp.array(2.0)]),
    int_into_float=lambda eqx: there_and_back(eqx, [1], [2.0]),
    float_into_int=lambda eqx: there_and_back(eqx, [1.5], [2]),
    bool_into_int=lambda eqx: there_and_back(eqx, [True], [2]),
    jax_into_numpy=lambda eqx: there_and_back(eqx, [jnp.ones(2)], [np.zeros(2, "f4")]),
    numpy_into_jax=lambda eqx: there_and_back(eqx, [np.ones(2, "f4")], [jnp.zeros(2)]),
    numpy64_into_jax=lambda eqx: there_and_back(eqx, [np.ones(2)], [jnp.zeros(2)]),
    empty_file=lambda eqx: eqx.tree_deserialise_leaves(io.BytesIO(), [jnp.ones(1)]),
    garbage=lambda eqx: eqx.tree_deserialise_leaves(io.BytesIO(b"garbage" * 20), [jnp.ones(1)]),
    missing_file=lambda eqx: eqx.tree_deserialise_leaves("/tmp/no/such/file", [1]),
    nothing=lambda eqx: there_and_back(eqx, []),
    scalar_shape=lambda eqx: there_and_back(eqx, [jnp.ones(())], [jnp.ones(1)]),
)


@program("tree_serialise_leaves", "tree_deserialise_leaves")
def by_path(eqx):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.eqx"
        eqx.tree_serialise_leaves(file, linear(eqx))
        return eqx.tree_deserialise_leaves(str(file), linear(eqx, 1)), [
            p.name for p in pathlib.Path(folder).iterdir()
        ]


@program("tree_serialise_leaves", "tree_deserialise_leaves")
def by_path_without_a_suffix(eqx):
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model"
        eqx.tree_serialise_leaves(file, [1])
        return eqx.tree_deserialise_leaves(file, [2]), [
            p.name for p in pathlib.Path(folder).iterdir()
        ]


@program("tree_serialise_leaves", "tree_deserialise_leaves")
def by_path_with_another_suffix(eqx):
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.bin"
        eqx.tree_serialise_leaves(file, [1])
        return eqx.tree_deserialise_leaves(file, [2]), [
            p.name for p in pathlib.Path(folder).iterdir()
        ]


@program("tree_serialise_leaves")
def into_a_missing_folder(eqx):
    return eqx.tree_serialise_leaves("/tmp/no/such/folder/file", [1])


@program("tree_serialise_leaves", "tree_deserialise_leaves")
def several_in_a_row(eqx):
    file = io.BytesIO()
    file.write(b"header\n")
    eqx.tree_serialise_leaves(file, [jnp.ones(2)])
    eqx.tree_serialise_leaves(file, [3])
    file.seek(0)
    return (
        file.readline(),
        eqx.tree_deserialise_leaves(file, [jnp.zeros(2)]),
        eqx.tree_deserialise_leaves(file, [0]),
    )


@program("default_serialise_filter_spec", "default_deserialise_filter_spec")
def default_specs(eqx):
    found = []
    for leaf in (jnp.ones(2), np.ones(2), 1, 2.0, True, 1j, np.float32(3), "a", None, jnp.sin):
        file = io.BytesIO()
        eqx.default_serialise_filter_spec(file, leaf)
        size = len(file.getvalue())
        file.seek(0)
        back = eqx.default_deserialise_filter_spec(file, leaf)
        found.append((size, back if size else back is leaf))
    return found


@program("default_deserialise_filter_spec")
def default_spec_of_a_struct(eqx):
    file = io.BytesIO()
    eqx.default_serialise_filter_spec(file, jnp.ones(2))
    file.seek(0)
    return eqx.default_deserialise_filter_spec(file, jax.ShapeDtypeStruct((2,), jnp.float32))


@program("tree_serialise_leaves")
def returns_nothing(eqx):
    return eqx.tree_serialise_leaves(io.BytesIO(), [1])


@program("tree_serialise_leaves")
def traced_leaves(eqx):
    return jax.jit(lambda x: eqx.tree_serialise_leaves(io.BytesIO(), x))(jnp.ones(1))
