"""An instance may not hold itself."""

import jax
import pytest

from pytree_module import Module, Partial

# Cycles.


class Holder(Module):
    inner: object


def _holds_itself(self):
    self.f = self


def _holds_own_method(self):
    self.f = self.method


def _holds_itself_in_a_list(self):
    self.f = [1, {"me": self}]


def _holds_a_child_that_holds_it(self):
    self.f = Holder(self)


def _holds_own_method_in_a_child(self):
    self.f = (Holder(Partial(self.method, 1)),)


@pytest.mark.parametrize(
    "fill",
    [
        _holds_itself,
        _holds_own_method,
        _holds_itself_in_a_list,
        _holds_a_child_that_holds_it,
        _holds_own_method_in_a_child,
    ],
)
def test_cycles_are_refused_at_construction(fill) -> None:
    class Cyclic(Module):
        f: object

        def __init__(self) -> None:
            fill(self)

        def method(self) -> None: ...

    expected = "Cannot assign methods in __init__" if "method" in fill.__name__ else "a cycle"
    with pytest.raises(ValueError, match=expected) as caught:
        Cyclic()
    assert "Cyclic.f" in str(caught.value)


def test_an_instance_that_escapes_without_a_cycle_is_fine() -> None:
    seen = []

    class Escaping(Module):
        f: object

        def __init__(self) -> None:
            seen.append(self)
            self.f = [1, 2]

    assert Escaping() is seen[0]


def test_bound_method_of_another_instance_may_be_stored() -> None:
    class Other(Module):
        a: int

        def get(self) -> int:
            return self.a

    assert Holder(Other(3).get).inner() == 3
    assert jax.tree_util.tree_leaves(Holder(Other(3).get)) == [3]


def test_a_cycle_out_of_sight_of_jax_prints() -> None:
    class Hiding(Module):
        fn: object

        def __init__(self):
            self.fn = jax.tree_util.Partial(self.method, 1)

        def method(self, x):
            return x

    hiding = Hiding()
    assert hiding.fn() == 1
    assert "<recursive>" in repr(hiding) and "<recursive>" in repr(hiding.method)
