"""Which leaves of a file fit a tree, and how they are taken over."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._load_report import LoadReport, Mismatch
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import (
    LeafInfo,
    as_number,
    castable,
    info_of,
    is_jax,
    number_kind,
)
from tree_surgery._nodes.prng_keys import to_keys
from tree_surgery._streams.host_arrays import check_width, to_device

from .leaf_encoding import Found


def raise_report(report: LoadReport, source: str, expected: dict[str, Any]) -> None:
    """One error for all that does not fit."""
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


# How to make the leaf of the tree of the array that is found, or of the number.
Take = Callable[[Any], Any]


def match(
    leaves: Mapping[str, Any], found: Mapping[str, Found | Any], dtype: Any
) -> tuple[dict[str, Take], LoadReport]:
    """For each leaf that is there and fits, how to take it over; and what does not fit."""
    takes: dict[str, Take] = {}
    report = LoadReport([], [name for name in found if name not in leaves], [])
    for name, leaf in leaves.items():
        expected = info_of(leaf)
        if name not in found:
            if expected is not None:
                report.missing.append(name)
            continue
        there = found[name]
        info = there.what if isinstance(there, Found) else info_of(there)
        if expected is None or info is None:
            report.unexpected.append(name)
            continue
        take = _take(name, leaf, expected, there, dtype)
        if take is None:
            report.mismatched.append(Mismatch(name, expected, info))
        else:
            takes[name] = take
    return takes, report


def _take(name: str, leaf: Any, expected: LeafInfo, there: Any, dtype: Any) -> Take | None:
    if number_kind(leaf) is not None:
        if isinstance(there, Found):
            number = there.what.shape == () and "key" not in there.note
            return (lambda array: _number(name, array.item(), leaf)) if number else None
        value = as_number(there, leaf)
        return None if value is None else lambda _: value
    if not isinstance(there, Found):
        return None
    if expected.shape is not None and is_jax(leaf) and not is_key(leaf):
        _check_width(name, leaf.dtype)
    cast = _take_cast(name, leaf, expected, there, dtype)
    if cast is not None or expected != there.what:
        return cast
    if expected.shape is None:
        return lambda content: content
    if "key" in there.note:
        return lambda words: _placed(name, to_keys, words, there.note["key"], leaf)
    return lambda array: _array(name, array, leaf, None)


def _take_cast(name: str, leaf: Any, expected: LeafInfo, there: Found, dtype: Any) -> Take | None:
    if dtype is None or there.dtype is None or there.note.keys() & {"key", "own"}:
        return None
    if expected.shape is None or expected.shape != there.what.shape:
        return None
    wanted = leaf.dtype if isinstance(dtype, str) and dtype == "like" else np.dtype(dtype)
    if not (castable(there.dtype, wanted) and castable(leaf.dtype, wanted)):
        return None
    if is_jax(leaf):
        _check_width(name, wanted)
    return lambda array: _array(name, array, leaf, wanted)


def _check_width(name: str, dtype: Any) -> None:
    try:
        check_width(dtype)
    except SerialiseError as error:
        raise error.at(name) from None


def _array(name: str, array: np.ndarray[Any, Any], leaf: Any, dtype: Any) -> Any:
    if dtype is not None and dtype != array.dtype:
        old, array = array, array.astype(dtype)
        if np.dtype(dtype).kind in "iu" and not np.array_equal(old, array):
            raise SerialiseError(f"Leaf `{name}`: not all its values fit {dtype}.", path=name)
    if is_jax(leaf):
        return _placed(name, to_device, array, leaf)
    return array[()] if isinstance(leaf, np.generic) else array


def _placed(name: str, make: Callable[..., Any], *args: Any) -> Any:
    try:
        return make(*args)
    except SerialiseError as error:
        raise error.at(name) from None


def _number(name: str, found: Any, leaf: Any) -> Any:
    value = as_number(found, leaf)
    if value is None:
        raise SerialiseError(
            f"Leaf `{name}`: {found!r} is no `{number_kind(leaf).__name__}`.", path=name
        )
    return value
