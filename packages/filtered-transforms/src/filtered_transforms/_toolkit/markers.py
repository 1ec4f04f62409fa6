"""Small things that libraries take from here: tokens, marks for documentation, keys for tests."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from pytree_module import Module
from tree_surgery.extend import public

T = TypeVar("T")


@public("filtered_transforms.extend")
def str2jax(msg: str) -> object:
    """An object without leaves whose `str` is `msg`: a mark that can go where PyTrees go.

    **Arguments:**

    - `msg`: what it shows.

    **Returns:** a `Module` without fields, of a class of its own: unlike any other, and equal to
    itself after a trip through `jax.jit` or a loop.

    ```python
    import jax
    from filtered_transforms.extend import str2jax

    unused = str2jax("unused")
    assert str(unused) == "unused" and jax.tree.leaves(unused) == []
    assert jax.jit(lambda x: x)(unused) == unused
    ```
    """

    def shown(self: Any) -> str:
        return msg

    make: Any = type(Module)
    return make(msg, (Module,), {"__repr__": shown, "__module__": __name__, "__qualname__": msg})()


@public("filtered_transforms.extend")
def doc_repr(obj: T, string: str) -> T:
    """The object itself; says what documentation may print in its place.

    **Arguments:**

    - `obj`: anything, such as the default of a parameter.
    - `string`: what to print.

    ```python
    from filtered_transforms.extend import doc_repr

    sentinel = object()
    assert doc_repr(sentinel, "sentinel") is sentinel
    ```
    """
    del string
    return obj


@public("filtered_transforms.extend")
def doc_remove_args(*args: str) -> Callable[[T], T]:
    """A decorator that says which parameters documentation may leave out; the function is the same.

    **Arguments:**

    - `*args`: names of parameters.

    ```python
    from filtered_transforms.extend import doc_remove_args

    @doc_remove_args("_internal")
    def f(x, _internal=None):
        return x

    assert f(1) == 1
    ```
    """
    del args
    return lambda fn: fn


@public("filtered_transforms.extend")
@dataclasses.dataclass(init=False)
class GetKey:
    """A source of random keys for tests: each call gives another. The seed is in its `repr`.

    **Arguments:**

    - `seed`: a non-negative `int`; one drawn anew in each process, without. A failed test shows it.

    ```python
    from filtered_transforms.extend import GetKey

    getkey = GetKey(seed=0)
    assert (getkey() != getkey()).any()
    assert repr(getkey).startswith("GetKey(seed=0, call=2")
    ```
    """

    seed: int
    call: int
    key: jax.Array

    def __init__(self, seed: int | None = None):
        self.seed = random.SystemRandom().randint(0, 2**31 - 1) if seed is None else seed
        self.call = 0
        self.key = jax.random.PRNGKey(self.seed)

    def __call__(self) -> jax.Array:
        """A new key, of shape `(2,)` and dtype `uint32`."""
        self.call += 1
        return jax.random.fold_in(self.key, self.call)
