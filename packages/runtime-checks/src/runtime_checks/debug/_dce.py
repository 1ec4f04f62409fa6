"""Which arrays the compiler has left out, since nobody needs them."""

import threading
from collections import deque
from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms import is_array
from runtime_checks._failure.pending_failures import wait_for_callbacks
from runtime_checks._jax import Tracer
from runtime_checks._on_error import OnError
from runtime_checks._registered import check_tree
from runtime_checks._types import T
from tree_surgery import tree_pformat
from tree_surgery.extend import public


class _Entry(NamedTuple):
    """One call of `store_dce` in one trace: `used` says of which arrays the program has told."""

    leaves: list[Any]
    treedef: Any
    used: set[int]


class _LeftOut:
    """Stands in what is printed for an array that the compiler has left out."""

    def __repr__(self) -> str:
        return "<DCE'd>"


class _StoredCalls:
    """The calls of `store_dce`, by their names.

    `store_dce` writes, in each trace of the function that calls it; `inspect_dce` reads. Of each
    name the last calls are kept, up to `calls_per_name`, and of the names the last ones, up to
    `names`: whoever traces a function again and again wants to know of its last trace.
    """

    calls_per_name: ClassVar[int] = 1024
    names: ClassVar[int] = 1024

    def __init__(self) -> None:
        self._calls: dict[Hashable, deque[_Entry]] = {}
        self._lock = threading.Lock()

    def add(self, name: Hashable, entry: _Entry) -> None:
        with self._lock:
            # The name that was used last stands last.
            calls = self._calls.pop(name, None) or deque(maxlen=self.calls_per_name)
            self._calls[name] = calls
            calls.append(entry)
            if len(self._calls) > self.names:
                del self._calls[next(iter(self._calls))]

    def of(self, name: Hashable) -> list[_Entry]:
        with self._lock:
            return list(self._calls.get(name, ()))


_STORED = _StoredCalls()


@public
def store_dce(x: T, name: Hashable = None) -> T:
    """Returns `x`, and notes which of its arrays the compiled program computes.

    `inspect_dce` prints it, after the jitted function has been called. DCE is dead-code
    elimination.

    **Arguments:**

    - `x`: any PyTree. Non-array leaves are ignored.
    - `name`: any hashable value, to be given to `inspect_dce`.

    **Returns:** `x`.

    **Raises:** `RuntimeError` outside of a jitted function.

    ```python
    import jax
    from runtime_checks.debug import inspect_dce, store_dce

    @jax.jit
    def f(x):
        a, _ = store_dce((x**2, x + 1), name="powers")
        return a

    f(1)
    inspect_dce("powers")  # (i32[], <DCE'd>)
    ```
    """
    leaves, treedef = jtu.tree_flatten(x)
    if not any(isinstance(leaf, Tracer) for leaf in leaves):
        raise RuntimeError(
            "`debug.store_dce` should be used inside of JIT: nothing is left out of a program "
            "that is not compiled."
        )
    shapes = [
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if is_array(leaf) else leaf for leaf in leaves
    ]
    entry = _Entry(shapes, treedef, set())
    _STORED.add(name, entry)
    told = [_telling(leaf, entry, i) if is_array(leaf) else leaf for i, leaf in enumerate(leaves)]
    return treedef.unflatten(told)


def _telling(x: Any, entry: _Entry, i: int) -> Any:
    """`x`, by way of a callback that the compiler may leave out with it."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _telling(jax.random.key_data(x), entry, i)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))

    def tell(x: Any) -> Any:
        entry.used.add(i)
        return x

    @jax.custom_jvp
    def told(x: Any) -> Any:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(tell, shape, x, vmap_method="expand_dims")

    told.defjvp(lambda primals, tangents: (told(*primals), tangents[0]))
    return told(x)


@public
def inspect_dce(name: Hashable = None) -> None:
    """Prints for each call of `store_dce` with this name which arrays were left out.

    **Arguments:**

    - `name`: as given to `store_dce`.

    ```python
    from runtime_checks.debug import inspect_dce

    inspect_dce("a name nobody has used")  # Found 0 calls ...
    ```
    """
    wait_for_callbacks()
    entries = _STORED.of(name)
    calls = "call" if len(entries) == 1 else "calls"
    print(f"Found {len(entries)} {calls} to `debug.store_dce`.")
    for number, (leaves, treedef, used) in enumerate(entries):
        shown = [
            _LeftOut() if isinstance(leaf, jax.ShapeDtypeStruct) and i not in used else leaf
            for i, leaf in enumerate(leaves)
        ]
        print(f"Entry {number}:\n{tree_pformat(treedef.unflatten(shown), struct_as_array=True)}")


@public
def assert_dce(x: T, msg: str, *, on_error: OnError = "default") -> T:
    """Returns `x`, and raises an error when a compiled program runs that needs any array of it.

    **Arguments:**

    - `x`: any PyTree.
    - `msg`, `on_error`: as for `error_if`.

    **Returns:** `x`.

    **Raises:** `EquinoxRuntimeError` if an array of `x` was not left out. Outside of a jitted
    function nothing is ever left out, and nothing is raised.

    ```python
    import jax
    import jax.numpy as jnp
    from runtime_checks.debug import assert_dce

    @jax.jit
    def f(x):
        assert_dce(jnp.sin(x), "sin is not needed")
        return x

    f(jnp.array(1.0))
    ```
    """
    leaves, treedef = jtu.tree_flatten(x)
    checked: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, Tracer):
            # Not known while tracing, and always true.
            pred = _always(leaf)
            leaf = check_tree(leaf, pred, (str(msg),), on_error, kept=False)
        checked.append(leaf)
    return treedef.unflatten(checked)


def _always(x: Any) -> Any:
    return jax.lax.optimization_barrier((x, jnp.ones((), bool)))[1]
