"""Functions evaluated for shapes only, and functions compiled once for several calls."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from filtered_transforms._filters.eval_shape import filter_eval_shape, is_abstract
from filtered_transforms._filters.hashable import hashable_combine, hashable_partition
from filtered_transforms._jit.bounded_table import BoundedTable
from filtered_transforms._jit.by_function import ByFunction, is_weak
from filtered_transforms._types import PyTree, R, T
from tree_surgery.extend import public

_MAX_RESULTS = 1024  # of one function, or of all callable PyTrees together

_RESULTS: ByFunction[BoundedTable] = ByFunction(lambda fun: BoundedTable(_MAX_RESULTS))
"""The results of `cached_filter_eval_shape`, the only reader and writer."""


@public("filtered_transforms.extend")
def cached_filter_eval_shape(fn: Callable[..., R], *args: PyTree, **kwargs: PyTree) -> R:
    """As `filter_eval_shape`; the function is traced once for the same shapes and static values.

    **Arguments** and **Returns:** as `filter_eval_shape`. Non-array leaves must be hashable, `fn`
    included; if one is not, and inside another trace that `fn` closes over, it is traced each time.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import cached_filter_eval_shape

    traced = []
    f = lambda x: traced.append(x) or 2 * x
    for _ in range(3):
        assert cached_filter_eval_shape(f, jnp.ones(3)).shape == (3,)
    assert len(traced) == 1
    ```
    """
    # `_RESULTS` refers to the function weakly, so its entry must not hold the function in a key.
    own = None if is_weak(fn) else fn
    arrays, static = hashable_partition((own, args, kwargs), is_abstract)
    shapes = tuple(map(_shape, arrays))
    x64 = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
    key, results = (static, shapes, x64), _RESULTS.of(fn)
    try:
        found = results.get(key)
    except TypeError:  # an unhashable static value
        return filter_eval_shape(fn, *args, **kwargs)
    if found is None:
        own, args, kwargs = hashable_combine(list(shapes), static)
        found = results.add(key, (filter_eval_shape(fn if own is None else own, *args, **kwargs),))
    return found[0]


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    weak = getattr(array, "weak_type", False)
    return jax.ShapeDtypeStruct(jnp.shape(array), array.dtype, weak_type=weak)


@public("filtered_transforms.extend")
def eval_zero(fn: Callable[..., R], *inputs: PyTree) -> R:
    """Zeros of the shapes and dtypes of a function's result, which is not computed.

    **Arguments:**

    - `fn`: a function that returns a tree of arrays.
    - `*inputs`: its arguments.

    **Returns:** a tree like `fn(*inputs)` whose arrays are zero.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import eval_zero

    assert eval_zero(lambda x: {"sum": x.sum()}, jnp.ones(3)) == {"sum": 0.0}
    ```
    """
    return _filled(jnp.zeros, fn, inputs)


@public("filtered_transforms.extend")
def eval_empty(fn: Callable[..., R], *inputs: PyTree) -> R:
    """Arrays of the shapes and dtypes of a function's result, with undefined values.

    For arrays that are required but never read, such as the first carry of some loops.

    **Arguments** and **Returns:** as `eval_zero`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import eval_empty

    assert eval_empty(lambda x: x > 0, jnp.ones(3)).dtype == bool
    ```
    """
    return _filled(jnp.empty, fn, inputs)


def _filled(make: Callable[..., jax.Array], fn: Callable[..., Any], inputs: Any) -> Any:
    return jax.tree.map(
        lambda leaf: make(leaf.shape, leaf.dtype) if is_abstract(leaf) else leaf,
        filter_eval_shape(fn, *inputs),
    )


@public("filtered_transforms.extend")
def scan_trick(fn: Callable[[T], T], intermediates: Sequence[Callable[[T], T]], init: T) -> T:
    """Calls a function several times, with other functions in between, and compiles it once.

    `scan_trick(f, [g, h], x)` is `f(h(f(g(f(x)))))`: a loop whose body is `f` followed by one of
    the others, so that a large `f` is traced and compiled only once.

    **Arguments:**

    - `fn`: a function from a tree of arrays to one of the same structure, shapes and dtypes.
    - `intermediates`: functions of the same kind, one for each time between two calls.
    - `init`: what `fn` is called with first.

    **Returns:** the result of the last call of `fn`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import scan_trick

    out = scan_trick(lambda x: x * 2, [lambda x: x + 1, lambda x: x - 3], jnp.array(1.0))
    assert out == ((1 * 2 + 1) * 2 - 3) * 2
    ```
    """
    between = [*intermediates, lambda carry: carry]
    if len(between) == 1:
        return fn(init)

    def body(carry: Any, i: jax.Array) -> tuple[Any, None]:
        return jax.lax.switch(i, between, fn(carry)), None

    return jax.lax.scan(body, init, jnp.arange(len(between)))[0]
