"""`Enumeration`: result codes in programs, their texts, their inheritance, their errors."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from pytree_module import Module
from runtime_checks import Enumeration, EnumerationItem, EquinoxRuntimeError
from tree_surgery import tree_equal, tree_pformat


class Results(Enumeration):
    ok = "all good"
    bad = "it went bad"

    _note = "no member"

    def help(self) -> str:
        return "no member either"


class More(Results):
    worse = "much worse"


class Renamed(Results):
    bad = "it went very bad"


class Left(Enumeration):
    a = "left"
    shared = "from the left"


class Right(Enumeration):
    shared = "from the right"
    b = "right"


class Both(Left, Right):
    c = "own"


class Diamond(More, Renamed):
    pass


def traced(pred: Any) -> Any:
    return filter_jit(lambda p: Results.where(p, Results.ok, Results.bad))(pred)


def mapped() -> Any:
    preds = jnp.array([True, False])
    return jax.vmap(lambda p: Results.where(p, Results.ok, Results.bad))(preds)


def test_members_and_texts():
    assert isinstance(Results.ok, Results) and isinstance(Results.ok, EnumerationItem)
    assert not isinstance(More.ok, Results) and not isinstance(3, Results)
    assert len(Results) == 2 and [Results[item] for item in Results] == ["all good", "it went bad"]
    assert Results.ok in Results and More.ok not in Results and "ok" not in Results
    assert Results._note == "no member" and not hasattr(Results, "nope")
    assert len(jax.tree.leaves(Results.bad)) == 1


def test_comparison():
    for ok in (Results.ok, traced(jnp.array(True))):
        assert bool(ok == Results.ok) and bool(ok != Results.bad)
        assert not bool(ok == Results.bad) and not bool(ok != Results.ok)
    np.testing.assert_array_equal(mapped() == Results.ok, [True, False])
    assert bool(jax.jit(lambda item: item == Results.bad)(Results.bad))
    for other in (3, More.ok, "all good"):
        with pytest.raises(ValueError, match="equality between enumerations of the same type"):
            _ = Results.ok == other
        with pytest.raises(ValueError, match="equality between enumerations of the same type"):
            _ = Results.ok != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(Results.ok)


# https://github.com/patrick-kidger/equinox/issues/1102
def test_repr():
    name = f"{__name__}.Results"
    shown: list[str] = []

    def show(item: Any) -> Any:
        shown.append(repr(item))
        return item

    assert repr(Results.ok) == str(Results.ok) == tree_pformat(Results.ok) == f"{name}<all good>"
    batch = jax.vmap(show)(mapped())
    jax.jit(show)(Results.ok)
    jax.eval_shape(lambda item: show(item), Results.ok)
    assert shown == [f"{name}<traced>"] * 3
    assert repr(batch) == f"{name}<['all good' 'it went bad']>"
    assert Results[batch] == "['all good' 'it went bad']"
    assert "ShapeDtypeStruct" in repr(jax.eval_shape(lambda: Results.ok))
    assert "None" in repr(jax.tree.map(lambda _: None, Results.ok))


def test_where():
    for true in (True, np.bool_(True), np.array(True), jnp.array(True)):
        assert bool(Results.where(true, Results.ok, Results.bad) == Results.ok)
    assert Results.where(jnp.array(False), Results.ok, Results.ok) is Results.ok
    assert bool(traced(jnp.array(False)) == Results.bad)
    for pred in (jnp.array([True, False]), 1, jnp.array(1), "yes"):
        with pytest.raises(ValueError, match="requires a scalar boolean predicate"):
            Results.where(pred, Results.ok, Results.bad)
    for a, b in ((Results.ok, More.bad), (3, Results.ok)):
        with pytest.raises(ValueError, match="must be members of"):
            Results.where(True, a, b)


def test_inheritance():
    assert [More[item] for item in More] == ["all good", "it went bad", "much worse"]
    assert [Renamed[item] for item in Renamed] == ["all good", "it went very bad"]
    assert {Both[item] for item in Both} == {"left", "from the left", "right", "own"}
    assert len(Diamond) == 3 and Diamond[Diamond.worse] == "much worse"
    for cls in (More, Renamed, Diamond):
        assert bool(cls.promote(Results.bad) == cls.bad)
        assert bool(filter_jit(cls.promote)(traced(jnp.array(False))) == cls.bad)
        np.testing.assert_array_equal(cls.promote(mapped()) == cls.ok, [True, False])
    for base in (Left, Right):
        for item in base:
            assert Both.promote(item) in Both
    assert bool(Both.promote(Right.b) == Both.b) and bool(Both.promote(Left.a) == Both.a)


def test_wrong_promotion():
    for cls, item in ((Results, More.bad), (Results, Results.ok), (Left, Right.b)):
        with pytest.raises(ValueError, match="Can only promote from inherited enumerations"):
            cls.promote(item)
    with pytest.raises(ValueError, match="Can only promote enumerations"):
        Results.promote(3)


def test_wrong_lookup():
    with pytest.raises(ValueError, match="Index must be an enumeration item"):
        Results[0]
    with pytest.raises(ValueError, match="must be from this enumeration"):
        Results[More.ok]
    with pytest.raises(TypeError, match=r"`Wrong.a` is a int"):
        type(Results)("Wrong", (Enumeration,), {"a": 3})
    with pytest.raises(AttributeError):
        _ = Results.nope


def test_errors():
    x = jnp.arange(3.0)
    for item in (Results.bad, traced(jnp.array(False))):
        for pred in (jnp.array(True), jnp.array([False, True, False])):
            with pytest.raises(EquinoxRuntimeError, match="it went bad") as caught:
                filter_jit(lambda item, x, pred: item.error_if(x, pred))(item, x, pred)
            assert caught.value.message == "it went bad"
        with pytest.raises(EquinoxRuntimeError, match="it went bad"):
            item.error_if(x, True)
        np.testing.assert_array_equal(item.error_if(x, False), x)
    with pytest.raises(EquinoxRuntimeError, match="it went bad"):
        mapped().error_if(jnp.zeros(2), jnp.array([False, True]))
    with pytest.raises(EquinoxRuntimeError, match="all good"):
        mapped().error_if(jnp.zeros(2), jnp.array([True, False]))


def test_through_jax():
    class Holder(Module):
        result: Results

    holder = Holder(Results.ok)
    out = jax.jit(lambda h, p: jax.lax.cond(p, lambda: h, lambda: Holder(Results.bad)))(
        holder, False
    )
    assert bool(out.result == Results.bad) and tree_equal(Results.ok, Results.ok) is True
    assert bool(pickle.loads(pickle.dumps(Results.bad)) == Results.bad)
    final, _ = jax.lax.scan(
        lambda c, p: (Results.where(p, c, Results.bad), None), Results.ok, jnp.array([True, False])
    )
    assert bool(final == Results.bad)


def in_jit(f: Any) -> None:
    jax.jit(lambda x: (f(), x)[1])(1.0)


def in_shards(f: Any) -> None:
    mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("b")
    shards = jax.shard_map(lambda x: (f(), x)[1], mesh=mesh, in_specs=spec, out_specs=spec)
    jax.jit(shards)(np.ones(2, np.float32))


TRACED: dict[str, Any] = {
    "eager": lambda f: f(),
    "jit": in_jit,
    "filter_jit": lambda f: filter_jit(lambda x: (f(), x)[1])(1.0),
    "vmap": lambda f: jax.vmap(lambda x: (f(), x)[1])(jnp.ones(2)),
    "grad of jit": lambda f: jax.grad(jax.jit(lambda x: (f(), x)[1]))(1.0),
    "scan": lambda f: jax.lax.scan(lambda c, _: (f(), (c, None))[1], 1.0, None, length=2),
    "shard_map": in_shards,
}


# What Equinox 0.13.8 gives: an array that is known, of which `bool` and `if` can be asked.
@pytest.mark.parametrize("where", TRACED)
def test_what_is_known_of_items_stays_known(where: str):
    seen: list[bool] = []
    copied = jax.tree.map(lambda x: x, Results.ok)  # not the same object

    def known() -> None:
        for ok in (Results.ok, copied, Results.where(True, Results.ok, Results.bad)):
            results = (ok == Results.ok, ok != Results.bad, ok == Results.bad, ok != Results.ok)
            assert all(isinstance(x, jax.Array) and x.dtype == bool for x in results)
            assert [bool(x) for x in results] == [True, True, False, False]
            assert not ok.is_traced() and Results[ok] == "all good"
        assert bool(More.promote(Results.ok) == More.ok)
        pred = jnp.array(True)
        assert Results.where(True, Results.ok, Results.bad) is Results.ok
        assert Results.where(np.array(False), Results.ok, Results.bad) is Results.bad
        assert Results.where(pred, Results.ok, Results.ok) is Results.ok
        assert not Results.where(pred, copied, Results.ok).is_traced()
        if Results.ok == Results.ok:
            seen.append(True)

    TRACED[where](known)
    assert seen == [True]


def test_what_is_not_known_is_found_by_the_program():
    both = jax.jit(lambda p, item: (Results.where(p, item, Results.ok), item == Results.ok))
    item, equal = both(True, Results.bad)
    assert Results[item] == "it went bad" and not equal
    item, equal = both(False, Results.bad)
    assert Results[item] == "all good" and not equal
    differ = jax.jit(lambda p: Results.where(p, Results.ok, Results.bad) != Results.ok)
    assert not differ(True) and differ(False)
