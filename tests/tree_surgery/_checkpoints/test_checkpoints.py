"""`Checkpoints`: every kind of leaf comes back, which checkpoints stay, and what the errors say."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tree_surgery as ts
from tree_surgery import Checkpoints, SerialiseError, tree_equal


class Text:
    """A leaf that writes itself."""

    def __init__(self, text: str):
        self.text = text

    def __serialise_leaf__(self, file):
        file.write(self.text.encode())

    def __deserialise_leaf__(self, file):
        return Text(file.read().decode())

    def __eq__(self, other):
        return isinstance(other, Text) and other.text == self.text

    __hash__ = None


def every_kind_of_leaf() -> dict[str, Any]:
    names = "bool int4 int8 int16 int32 uint4 uint8 uint32 float16 float32 bfloat16 complex64"
    names += " float8_e4m3fn float8_e5m2 float8_e4m3"
    numbers = np.array([[0, 1, 1], [1, 0, 1]])
    jax_arrays = {name: jnp.asarray(numbers, jnp.dtype(name)) for name in names.split()}
    numpy_names = ["int64", "uint64", "float64", "complex128", "longdouble", ">f4", "<U5", "M8[s]"]
    numpy_arrays = {name: numbers.astype(name) for name in [*names.split(), *numpy_names]}
    keys = jax.random.split(jax.random.key(1), (2, 3))
    return {
        "jax": jax_arrays,
        "numpy": numpy_arrays,
        "scalars": {name: array[1, 0] for name, array in numpy_arrays.items()},
        "jax scalar": jnp.float32(3),
        "structured": np.zeros(2, [("a", "f4"), ("b", "i2", (2,))]),
        "float0": np.zeros((2, 3), jax.dtypes.float0),
        "no elements": {
            "jax": jnp.zeros((0, 3)),
            "numpy": np.zeros((2, 0), "<U3"),
            "U0": np.zeros(2, "U0"),
        },
        "keys": {"threefry": keys, "rbg": jax.random.key(2, impl="rbg"), "none": keys[:0]},
        "numbers": {
            "int": 1 << 70,
            "float": 0.1,
            "inf": float("-inf"),
            "bool": True,
            "complex": 1j,
        },
        "own": {"text": Text("a text"), "empty": Text("")},
        "frozen": ts.Frozen(jnp.arange(3)),
        "list": [jnp.ones(3), (jnp.zeros(2), None)],
        "a.b": {"c/d": jnp.ones(1), "e f": jnp.zeros(1), "": jnp.ones(2)},
        "function": len,
    }


def blank(x: Any) -> Any:
    if isinstance(x, jax.Array):
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    if isinstance(x, np.ndarray):
        return np.empty_like(x)
    if isinstance(x, Text):
        return Text("?")
    return type(x)() if isinstance(x, bool | int | float | complex) else x


def test_every_kind_of_leaf_comes_back(tmp_path):
    tree = every_kind_of_leaf()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(0, tree)
        for like in (tree, jax.tree.map(blank, tree)):
            again = checkpoints.load(like)
            assert tree_equal(again, tree), ts.tree_diff(again, tree)
            for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(again), strict=True):
                assert type(x) is type(y)
                assert getattr(x, "dtype", None) == getattr(y, "dtype", None)
                assert getattr(y, "weak_type", False) is False


def test_tied_and_frozen_leaves_are_saved_once_under_their_names(tmp_path):
    tree = {"embed": jnp.ones((5, 2)), "head": jnp.zeros((5, 2)), "layer": {"w": jnp.arange(3.0)}}
    changed = ts.freeze(ts.tie(tree, [("head", "embed")]), "layer")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, changed)
        assert set(checkpoints.peek().leaves) == {"embed", "layer.w"}
        assert tree_equal(checkpoints.load(changed), changed)
        thawed = ts.unfreeze(changed)  # freezing changes no name
        assert tree_equal(checkpoints.load(thawed), thawed)


def test_the_same_names_fingerprint_and_metadata_as_a_file(tmp_path):
    tree = every_kind_of_leaf()
    metadata = {"width": 4, "names": ["a", "b"], "text": "x", "none": None}
    ts.save(tmp_path / "file", tree, metadata=metadata)
    with Checkpoints(tmp_path / "folder") as checkpoints:
        checkpoints.save(0, tree, metadata=metadata)
        there, file = checkpoints.peek(0), ts.peek(tmp_path / "file")
    assert there.metadata == file.metadata and there.fingerprint == file.fingerprint
    assert dict(there.leaves) == dict(file.leaves)


def test_a_file_and_a_checkpoint_become_each_other(tmp_path):
    tree = every_kind_of_leaf()
    with Checkpoints(tmp_path / "folder", best="loss") as checkpoints:
        checkpoints.save(0, tree, metadata={"width": 4}, metrics={"loss": 2})
        checkpoints.to_safetensors(tmp_path / "file")
        assert tree_equal(ts.load(tmp_path / "file", tree), tree)
        assert ts.peek(tmp_path / "file").metadata == {"width": 4}
        checkpoints.from_safetensors(tmp_path / "file", 3, metrics={"loss": 1})
        assert checkpoints.steps == [0, 3] and checkpoints.best == 3
        assert tree_equal(checkpoints.load(tree, 3), tree)
        assert checkpoints.peek(3).metadata == {"width": 4}
        ts.save(tmp_path / "again", tree, metadata={"width": 4})
    # To the byte: order, notes and checksums are those of `save`.
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("file", "again")]
    assert files[0] == files[1]


def test_a_file_of_another_program_becomes_a_checkpoint(tmp_path):
    from safetensors.numpy import save_file

    tensors = {"layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "np"})
    with Checkpoints(tmp_path / "folder") as checkpoints:
        checkpoints.from_safetensors(tmp_path / "x", 0)
        like = {"layers": [{"weight": np.zeros((2, 3), np.float32)}], "b": np.zeros(2)}
        found = checkpoints.load(like)
        assert checkpoints.peek().metadata == {"format": "np"}
    np.testing.assert_array_equal(found["layers"][0]["weight"], tensors["layers.0.weight"])


def test_a_damaged_file_becomes_no_checkpoint(tmp_path):
    ts.save(tmp_path / "x", {"w": jnp.ones(100)})
    data = bytearray((tmp_path / "x.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "x.safetensors").write_bytes(data)
    with Checkpoints(tmp_path / "folder") as checkpoints:
        with pytest.raises(SerialiseError, match="`w` is not as it was saved"):
            checkpoints.from_safetensors(tmp_path / "x", 0)
        assert checkpoints.steps == []


# --- on the way ----------------------------------------------------------------------------------


def test_a_part_is_read_under_other_names_and_dtypes(tmp_path):
    tree = {
        "model": {"w": jnp.arange(4.0), "n": jnp.arange(3)},
        "optimiser": [jnp.ones(4)],
        "step": 3,
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, tree)
        rename = {"model": "net", "optimiser": None, "step": None}
        like = {"net": {"w": jax.ShapeDtypeStruct((4,), jnp.bfloat16), "n": jnp.zeros(3, jnp.int8)}}
        found = checkpoints.load(like, rename=rename, dtype="like")
        assert found["net"]["w"].dtype == jnp.bfloat16 and found["net"]["n"].dtype == jnp.int8
        assert found["net"]["w"].tolist() == [0, 1, 2, 3] and found["net"]["n"].tolist() == [
            0,
            1,
            2,
        ]
        other, report = checkpoints.load({"step": 0, "new": jnp.ones(2)}, strict=False)
        assert other["step"] == 3 and other["new"].tolist() == [1, 1]
        assert report.missing == ["new"] and set(report.unexpected) == {
            "model.w",
            "model.n",
            "optimiser.0",
        }


def test_a_cast_of_integers_that_do_not_fit_is_refused(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"n": jnp.array([1, 300])})
        with pytest.raises(SerialiseError, match="`n`: not all its values fit int8"):
            checkpoints.load({"n": jnp.zeros(2, jnp.int8)}, dtype="like")


def test_doubles_are_rounded_where_jax_has_none(tmp_path):
    values = np.array([0.1, 0.2])
    device = jax.devices()[1]
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"x": values})
        like = {"x": jax.device_put(jnp.zeros(2), device)}
        found = checkpoints.load(like, dtype="like")["x"]
        np.testing.assert_array_equal(found, values.astype(np.float32))
        assert found.devices() == {device}
        with pytest.raises(SerialiseError, match="expected shape .2,. and dtype float32"):
            checkpoints.load(like)


def test_what_does_not_fit_is_told_as_of_a_file(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, {"w": jnp.ones(3), "b": jnp.ones(2)})
        like = {"w": jnp.zeros(4), "c": jnp.ones(2)}
        with pytest.raises(
            SerialiseError, match="Checkpoint 4 of .* does not fit `like`"
        ) as caught:
            checkpoints.load(like)
    report = caught.value.report
    assert report is not None and (report.missing, report.unexpected) == (["c"], ["b"])
    assert [x.path for x in report.mismatched] == ["w"] and like["w"].tolist() == [0] * 4


def test_arrays_may_be_changed_or_donated_after_save(tmp_path):
    own, ours = np.arange(1 << 20), jnp.arange(1 << 20)
    step = jax.jit(lambda x: -x, donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"own": own, "ours": ours})
        own[:] = 0
        step(ours)
        found = checkpoints.load({"own": own, "ours": jax.ShapeDtypeStruct((1 << 20,), jnp.int32)})
    np.testing.assert_array_equal(found["own"], np.arange(1 << 20))
    np.testing.assert_array_equal(found["ours"], np.arange(1 << 20))


# --- which stay ----------------------------------------------------------------------------------


def saved_steps(folder, steps=8, **options):
    losses = [5, 3, 4, 1, 6, 2, 9, 8]
    with Checkpoints(folder, **options) as checkpoints:
        for step in range(steps):
            checkpoints.save(step, {"step": step}, metrics={"loss": losses[step]})
    with Checkpoints(folder, **options) as checkpoints:  # as another process finds it
        return checkpoints.steps, checkpoints.latest, checkpoints.best


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, (list(range(8)), 7, None)),
        ({"keep": 3}, ([5, 6, 7], 7, None)),
        ({"keep": 2, "keep_every": 4}, ([0, 4, 6, 7], 7, None)),
        ({"save_every": 3}, ([0, 3, 6], 6, None)),
        ({"keep": 2, "asynchronous": False}, ([6, 7], 7, None)),
        ({"keep": 3, "best": "loss"}, ([1, 3, 5], 5, 3)),
        ({"keep": 2, "best": "loss", "mode": "max"}, ([6, 7], 7, 6)),
    ],
)
def test_which_checkpoints_stay(tmp_path, options, expected):
    assert saved_steps(tmp_path, **options) == expected


def test_options_of_orbax_and_forced_saves(tmp_path):
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(save_interval_steps=10)
    with Checkpoints(tmp_path, options=options) as checkpoints:
        assert [checkpoints.save(step, {"step": step}) for step in (0, 1)] == [True, False]
        assert checkpoints.save(2, {"step": 2}, force=True)
        assert checkpoints.steps == [0, 2] and checkpoints.manager.all_steps() == [0, 2]
        assert checkpoints.load({"step": 0}, 0) == {"step": 0}
        assert checkpoints.reached_preemption(3) is False


# --- errors --------------------------------------------------------------------------------------


def test_errors_of_steps_and_metrics(tmp_path):
    with Checkpoints(tmp_path, best="loss") as checkpoints:
        with pytest.raises(SerialiseError, match="no checkpoint in .* There is none at all"):
            checkpoints.load({"w": 0})
        with pytest.raises(
            SerialiseError, match=r"`loss`, which `metrics` lacks: it has \['error'\]"
        ):
            checkpoints.save(3, {"w": 1}, metrics={"error": 1})
        checkpoints.save(3, {"w": 1}, metrics={"loss": 1})
        for step in (2, 3):
            with pytest.raises(SerialiseError, match=f"Step {step} is not after 3"):
                checkpoints.save(step, {"w": 2}, metrics={"loss": 0})
        with pytest.raises(SerialiseError, match=r"no checkpoint of step 4 .* There are \[3\]"):
            checkpoints.load({"w": 0}, 4)
        assert checkpoints.load({"w": 0}) == {"w": 1}


@pytest.mark.parametrize(
    "leaf, match",
    [
        (np.array([object()]), "`a.0`: an array of Python objects"),
        (jax.ShapeDtypeStruct((2,), jnp.float32), "`a.0`: .* has no values to save"),
    ],
)
def test_a_leaf_that_cannot_be_saved_is_named(tmp_path, leaf, match):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(SerialiseError, match=match):
            checkpoints.save(0, {"a": [leaf]})
        with pytest.raises(SerialiseError, match="The metadata `f` cannot be kept as JSON"):
            checkpoints.save(0, {"a": 1}, metadata={"f": len})
        assert checkpoints.steps == []


def test_a_traced_leaf_is_named(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:

        @jax.jit
        def f(x):
            checkpoints.save(0, {"a": x})

        with pytest.raises(SerialiseError, match="`a`: .* is being traced"):
            f(1.0)


def test_checkpoints_of_others_are_refused(tmp_path):
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(0, args=ocp.args.StandardSave({"w": jnp.ones(2)}))
    foreign = "was not saved by `tree_surgery.Checkpoints`"
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(SerialiseError, match=foreign):
        checkpoints.load({"w": jnp.ones(2)})


def test_orbax_reads_the_arrays_by_name(tmp_path):
    import orbax.checkpoint as ocp

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"layers": [{"w": jnp.arange(3.0)}]})
    with ocp.CheckpointManager(tmp_path) as manager:
        how = {"layers.0.w": ocp.RestoreArgs(restore_type=np.ndarray)}
        args = ocp.args.Composite(tree=ocp.args.PyTreeRestore(restore_args=how))
        found = manager.restore(0, args=args).tree
    assert list(found) == ["layers.0.w"] and found["layers.0.w"].tolist() == [0, 1, 2]


def test_newer_and_damaged_notes_are_refused(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"w": jnp.ones(2)})
    notes = tmp_path / "0" / "tree_surgery" / "metadata"
    text = notes.read_text()
    for old, new, match in (
        ('"version": 1', '"version": 2', "of version 2 of this format.*Upgrade"),
        ('"F32"', '"F16"', "do not have the fingerprint"),
        ('"leaves"', '"laeves"', "notes of the checkpoint are damaged"),
    ):
        assert old in text
        notes.write_text(text.replace(old, new))
        with Checkpoints(tmp_path) as checkpoints, pytest.raises(SerialiseError, match=match):
            checkpoints.load({"w": jnp.ones(2)})


def test_without_orbax_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r'pip install "tree-surgery\[orbax\]"'):
        Checkpoints(tmp_path)


def test_tensorstore_has_the_dtypes_that_are_stored_as_they_are():
    import tensorstore

    from tree_surgery._checkpoints.stored_tree import _STORABLE

    for name in _STORABLE:
        dtype = jnp.dtype(name)
        assert tensorstore.dtype(dtype).numpy_dtype == dtype
