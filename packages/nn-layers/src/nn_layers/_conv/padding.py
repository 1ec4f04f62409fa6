"""How the arguments of convolutions and pooling are read: sizes and padding.

- An integer counts for all spatial dimensions; a sequence has an entry for each (`per_dimension`).
- `padding` is an integer, or for each spatial dimension an integer or a pair `(before, after)`
  (`padding_pairs`). A convolution also takes the words "SAME", "SAME_LOWER" and "VALID"
  (`read_padding`), which become pairs when the shape of an input is known: in `Conv._pad` by
  `jax.lax.padtype_to_pads`, in `ConvTranspose._explicit_padding` by hand.
- What is padded with is the `padding_mode` (`read_padding_mode`).
- An input that is smaller than the kernel, once padded, is refused (`check_kernel_fits`).
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nn_layers._core.shape_errors import refuse_shape

_MODES = ("ZEROS", "REFLECT", "REPLICATE", "CIRCULAR")
_PADDINGS = ("SAME", "SAME_LOWER", "VALID")


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
    """Whether `value` counts as an integer, as that of NumPy does. A boolean does not."""
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


def read_padding(layer: str, value: Any, ndim: int, mode: str) -> Any:
    """The `padding` of a convolution: a word in capitals, or a pair for each spatial dimension.

    **Raises:** `ValueError` naming the layer.
    """
    if isinstance(value, str):
        if value.upper() not in _PADDINGS:
            raise ValueError(
                f"`{layer}`: a `padding` string must be 'SAME', 'SAME_LOWER' or 'VALID', got "
                f"{value!r}."
            )
        return value.upper()
    pairs = padding_pairs(layer, value, ndim)
    if mode != "ZEROS" and any(p < 0 for pair in pairs for p in pair):
        raise ValueError(f"`{layer}`: `padding_mode={mode!r}` takes no negative padding: {value}.")
    return pairs


def read_padding_mode(layer: str, value: Any) -> str:
    """The `padding_mode` of a convolution, in capitals.

    **Raises:** `ValueError` naming the layer.
    """
    mode = value.upper() if isinstance(value, str) else value
    if mode not in _MODES:
        raise ValueError(
            f"`{layer}`: `padding_mode` must be 'ZEROS', 'REFLECT', 'REPLICATE' or 'CIRCULAR', got "
            f"{value!r}."
        )
    return mode


def check_kernel_fits(
    layer: Any,
    channels: str,
    received: tuple[int, ...],
    padding: Sequence[tuple[int, int]],
    extent: tuple[int, ...],
) -> None:
    """Refuses an input that is, once padded, smaller than the dilated kernel.

    The output would be empty. An input without elements may have an empty output.

    **Arguments:**

    - `channels`: what the first axis is, in words.
    - `received`: the shape of the input.
    - `padding`: for each spatial dimension.
    - `extent`: the size of the dilated kernel, for each spatial dimension.
    """
    dims = received[1:]
    padded = tuple(n + sum(pair) for n, pair in zip(dims, padding, strict=True))
    if all(n == 0 or p >= r for n, p, r in zip(dims, padded, extent, strict=True)):
        return
    least = [
        f"dim_{i + 1} >= {max(r - sum(pair), 0)}"
        for i, (r, pair) in enumerate(zip(extent, padding, strict=True))
    ]
    fix = f"The padded input is of size {padded}, and the kernel sees {extent}: nothing is left."
    refuse_shape(layer, (channels, *least), received, fix)
