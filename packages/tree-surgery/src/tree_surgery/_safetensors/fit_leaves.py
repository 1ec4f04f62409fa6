"""Which leaves of a file, or of a state dictionary, fit a tree, and how each is converted.

Here is decided what fits: name, kind, shape and dtype must be equal, but numbers may widen and
`dtype` may cast. All that does not fit is collected in one `LoadReport` before any data is read.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jax.typing import DTypeLike

from tree_surgery._errors import SerialiseError
from tree_surgery._load_report import LeafInfo, LoadReport, Mismatch
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import as_number, castable, info_of, is_jax, number_kind
from tree_surgery._nodes.prng_keys import to_keys
from tree_surgery._streams.host_arrays import check_width, to_device

from .leaf_encoding import LeafHeader
from .rename import Rename, rename_all

CastTo: TypeAlias = DTypeLike | Literal["like"] | None
"""The dtype to which arrays are cast: one for all, that of each leaf of `like`, or none."""

MakeLeaf = Callable[[Any], Any]
"""A function that makes the leaf of the tree from the array, or the number, of the file."""


class Fit(NamedTuple):
    """What becomes of each leaf of a file.

    - `names`: for each name in the file the name in the tree; `None` if the leaf is left out.
    - `makers`: by name in the tree, how to make each leaf that is there and fits.
    - `report`: of what does not fit.
    """

    names: dict[str, str | None]
    makers: dict[str, MakeLeaf]
    report: LoadReport


def fit_leaves(
    leaves: dict[str, Any],
    found: Mapping[str, LeafHeader | Any],
    strict: bool,
    rename: Rename | None,
    dtype: CastTo,
    source: str,
) -> Fit:
    """Match the leaves of a file with those of a tree. See `load` for the options.

    - `leaves`: those of the tree, by name.
    - `found`: those of the file: a `LeafHeader`, or a number of Python.
    - `source`: what an error calls the file.

    **Raises:** `SerialiseError` if `strict` and not everything fits.
    """
    names = rename_all(found, rename)
    renamed = {new: found[old] for old, new in names.items() if new is not None}
    makers, report = match_leaves(leaves, renamed, dtype)
    if strict and report:
        raise_report(report, source, leaves)
    return Fit(names, makers, report)


def match_leaves(
    leaves: Mapping[str, Any], found: Mapping[str, LeafHeader | Any], dtype: Any
) -> tuple[dict[str, MakeLeaf], LoadReport]:
    """How to make each leaf that is found and fits, by name; and a report of what does not fit.

    - `leaves`: those of the tree.
    - `found`: those of the file: a `LeafHeader`, or a number of Python.
    """
    makers: dict[str, MakeLeaf] = {}
    report = LoadReport([], [name for name in found if name not in leaves], [])
    for name, leaf in leaves.items():
        expected = info_of(leaf)
        if name not in found:
            if expected is not None:
                report.missing.append(name)
            continue
        there = found[name]
        info = there.info if isinstance(there, LeafHeader) else info_of(there)
        if expected is None or info is None:
            report.unexpected.append(name)
            continue
        maker = _choose_maker(name, leaf, expected, there, dtype)
        if maker is None:
            report.mismatched.append(Mismatch(name, expected, info))
        else:
            makers[name] = maker
    return makers, report


def raise_report(report: LoadReport, source: str, expected: dict[str, Any]) -> None:
    """Raise one error for all that does not fit. `expected`: the leaves of the tree."""
    path = next(iter([*(x.path for x in report.mismatched), *report.missing, *report.unexpected]))
    first = report.mismatched[0] if report.mismatched else None
    text = str(report)
    for name in report.missing:
        text = text.replace(f"- {name}: missing", f"- {name}: missing, {info_of(expected[name])}")
    raise SerialiseError(
        f"{source} does not fit `like`. {text}\n"
        "Make `like` as the saved tree was, for example by building the model with the same "
        "hyper-parameters; map other names by `rename=...`; cast by `dtype=...`; or load what "
        "fits by `strict=False`.",
        path=path,
        expected=str(first.expected) if first else None,
        found=str(first.found) if first else None,
        report=report,
    )


# --- how a leaf is made; `None` if it does not fit -----------------------------------------------


def _choose_maker(
    name: str, leaf: Any, expected: LeafInfo, there: LeafHeader | Any, dtype: Any
) -> MakeLeaf | None:
    if number_kind(leaf) is not None:
        return _number_maker(name, leaf, there)
    if not isinstance(there, LeafHeader):
        return None
    if is_jax(leaf) and not is_key(leaf):
        _check_width(name, leaf.dtype)
    # A cast comes first: with `dtype`, also a leaf that fits without one is cast.
    cast = _cast_maker(name, leaf, expected, there, dtype)
    if cast is not None or expected != there.info:
        return cast
    if expected.shape is None:
        return lambda own: own
    if "key" in there.note:
        return lambda words: _with_name(name, to_keys, words, there.note["key"], leaf)
    return lambda array: _make_array(name, array, leaf, None)


def _number_maker(name: str, leaf: Any, there: LeafHeader | Any) -> MakeLeaf | None:
    """A number of Python from another, or from an array without axes, as other programs write."""
    if isinstance(there, LeafHeader):
        is_scalar = there.info.shape == () and "key" not in there.note
        return (lambda array: _make_number(name, array.item(), leaf)) if is_scalar else None
    value = as_number(there, leaf)
    return None if value is None else lambda _: value


def _cast_maker(
    name: str, leaf: Any, expected: LeafInfo, there: LeafHeader, dtype: Any
) -> MakeLeaf | None:
    """An array that is cast, if a cast is asked for and stays within one kind of numbers."""
    if dtype is None or there.dtype is None or there.note.keys() & {"key", "own"}:
        return None
    if expected.shape is None or expected.shape != there.info.shape:
        return None
    wanted = cast_target(leaf, dtype)
    if not (castable(there.dtype, wanted) and castable(leaf.dtype, wanted)):
        return None
    if is_jax(leaf):
        _check_width(name, wanted)
    return lambda array: _make_array(name, array, leaf, wanted)


def cast_target(leaf: Any, dtype: Any) -> np.dtype[Any]:
    """The dtype that `CastTo` means for a leaf of the tree."""
    return np.dtype(leaf.dtype if isinstance(dtype, str) and dtype == "like" else dtype)


def _check_width(name: str, dtype: Any) -> None:
    _with_name(name, check_width, dtype)


# --- making it -----------------------------------------------------------------------------------


def _make_array(name: str, array: np.ndarray[Any, Any], leaf: Any, dtype: Any) -> Any:
    """An array of the kind of `leaf`: of JAX or of NumPy, or a scalar of NumPy."""
    if dtype is not None and dtype != array.dtype:
        old, array = array, array.astype(dtype)
        # Rounding is what a cast between floating dtypes is for. An integer that wraps is an error.
        if np.dtype(dtype).kind in "iu" and not np.array_equal(old, array):
            raise SerialiseError(f"Leaf `{name}`: not all its values fit {dtype}.", path=name)
    if is_jax(leaf):
        return _with_name(name, to_device, array, leaf)
    return array[()] if isinstance(leaf, np.generic) else array


def _make_number(name: str, found: Any, leaf: Any) -> Any:
    value = as_number(found, leaf)
    if value is None:
        raise SerialiseError(
            f"Leaf `{name}`: {found!r} is no `{number_kind(leaf).__name__}`.", path=name
        )
    return value


def _with_name(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function. Its error names the leaf."""
    try:
        return function(*args)
    except SerialiseError as error:
        raise error.at(name) from None
