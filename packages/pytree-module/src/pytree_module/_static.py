"""`Static`: a PyTree without leaves that holds any value."""

from typing import Any, Generic, TypeVar

import jax.tree_util as jtu

from tree_surgery.extend import public

from ._field import field
from ._module import Module
from ._pickling import picklable_values
from ._value_equality import ByValue

T_co = TypeVar("T_co", covariant=True)


@public
class Static(Module, Generic[T_co]):
    """Wraps any PyTree such that JAX sees no leaves in it, only structure.

    **Arguments:**

    - `value`: any PyTree. Arrays in it are compared by value whenever JAX compares structures, and
        a JAX transformation treats them as constants.

    `Static(value).value` is the tree again, rebuilt.

    !!! example

        ```python
        import jax
        from pytree_module import Static

        flag, x = jax.jit(lambda x: (Static("relu"), x + 1))(1)
        assert flag.value == "relu" and x == 2
        ```
    """

    _leaves: ByValue = field(static=True)
    _treedef: Any = field(static=True)

    def __init__(self, value: T_co):
        leaves, self._treedef = jtu.tree_flatten(value)
        self._leaves = ByValue(leaves)

    def __getstate__(self) -> dict[str, Any]:
        # The tree, not the treedef: functions in the tree are pickled by name.
        return picklable_values(self, {"value": self.value})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(vars(Static(state["value"])))

    @property
    def value(self) -> T_co:
        return jtu.tree_unflatten(self._treedef, self._leaves.value)
