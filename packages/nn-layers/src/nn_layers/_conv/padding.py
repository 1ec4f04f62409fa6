"""What layers over one, two or three spatial dimensions share: sizes and paddings per dimension."""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nn_layers._core.shape_errors import refuse_shape
from tree_surgery.extend import public


@public("nn_layers.extend")
def ntuple(n: int) -> Callable[[Any], tuple[Any, ...]]:
    """A function that gives `n` values: those of a sequence of `n`, or one `n` times.

    **Arguments:**

    - `n`: how many; most often the number of spatial dimensions.

    **Returns:** a function of a value or a sequence, which raises `ValueError` for a sequence of
    another length.

    ```python
    from nn_layers.extend import ntuple

    assert ntuple(2)(3) == ntuple(2)([3, 3]) == (3, 3)
    ```
    """

    def repeated(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, Iterable):
            return (value,) * n
        values: tuple[Any, ...] = tuple(value)
        if len(values) != n:
            raise ValueError(f"Expected one value or {n} of them, got {len(values)}: {value!r}.")
        return values

    return repeated


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def per_dimension(layer: str, name: str, value: Any, ndim: int, least: int = 1) -> tuple[int, ...]:
    """One integer for each spatial dimension: `value` itself, or `value` for all of them.

    **Raises:** `ValueError` naming layer and argument.
    """
    values = (value,) * ndim if _is_int(value) else value
    if not isinstance(values, Sequence) or not all(map(_is_int, values)):
        raise ValueError(
            f"`{layer}`: `{name}` must be an integer or a sequence of {ndim} integers, got "
            f"{value!r}."
        )
    if len(values) != ndim:
        raise ValueError(
            f"`{layer}`: `{name}` must have one integer for each of the {ndim} spatial dimensions; "
            f"the length of {value!r} is {len(values)}, not {ndim}."
        )
    result = tuple(map(operator.index, values))
    if min(result, default=least) < least:
        raise ValueError(f"`{layer}`: `{name}` must be at least {least}, got {value!r}.")
    return result


def padding_pairs(layer: str, value: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    """What to pad before and after, for each spatial dimension.

    `value` is an integer for all, or has one entry a dimension: an integer for both sides, or a
    pair.

    **Raises:** `ValueError` naming the layer.
    """
    if _is_int(value):
        both = operator.index(value)
        return ((both, both),) * ndim
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == ndim:
        pairs = [(entry, entry) if _is_int(entry) else entry for entry in value]
        if all(isinstance(p, Sequence) and len(p) == 2 and all(map(_is_int, p)) for p in pairs):
            return tuple((operator.index(before), operator.index(after)) for before, after in pairs)
    raise ValueError(
        f"`{layer}`: `padding` must be an integer or a sequence of {ndim} entries, each an integer "
        f"or a pair (before, after) of integers; got {value!r}."
    )


def check_reach(
    layer: Any,
    channels: str,
    received: tuple[int, ...],
    padding: Sequence[tuple[int, int]],
    reach: tuple[int, ...],
) -> None:
    """Refuses an input that is, once padded, smaller than what the kernel sees at once.

    Nothing would be left of it. Of an input without elements nothing is expected to be.

    **Arguments:**

    - `channels`: what the first axis is, in words.
    - `received`: the shape of the input.
    - `padding`, `reach`: for each spatial dimension.
    """
    dims = received[1:]
    padded = tuple(n + sum(pair) for n, pair in zip(dims, padding, strict=True))
    if all(n == 0 or p >= r for n, p, r in zip(dims, padded, reach, strict=True)):
        return
    least = [
        f"dim_{i + 1} >= {max(r - sum(pair), 0)}"
        for i, (r, pair) in enumerate(zip(reach, padding, strict=True))
    ]
    fix = f"The padded input is of size {padded}, and the kernel sees {reach}: nothing is left."
    refuse_shape(layer, (channels, *least), received, fix)
