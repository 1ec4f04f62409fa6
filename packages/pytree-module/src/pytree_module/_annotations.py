"""Annotations of classes and functions, read and changed on all Python versions.

Before Python 3.14 annotations are a dictionary of values or strings. Since then they are a
function, `__annotate__`, which evaluates them lazily. They may refer to names that are defined
later, or only for type checkers (PEP 649 and 749). So this module never evaluates annotations on
its own: if `annotationlib` exists, undefined names stay forward references, and changes wrap the
function.

This follows the documentation of 3.14, and is tested on a stand-in for it.
"""

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any

annotationlib: Any = (
    importlib.import_module("annotationlib") if sys.version_info >= (3, 14) else None
)

_signature: Any = inspect.signature  # With a parameter that Python lacks before 3.14.


def own_annotations(cls: type) -> dict[str, Any]:
    """The annotations in the body of `cls`, as values, strings or forward references."""
    if annotationlib is None:
        return inspect.get_annotations(cls)
    return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """As `inspect.signature`, even if annotations refer to undefined names."""
    if annotationlib is None:
        return inspect.signature(function)
    return _signature(function, annotation_format=annotationlib.Format.FORWARDREF)


@contextlib.contextmanager
def without_annotations(cls: Any, names: Collection[str]) -> Generator[None]:
    """Within it, the body of `cls` has no annotations of these names."""
    if not names:
        yield
        return

    def hide(found: Mapping[str, Any], format: Any = None) -> dict[str, Any]:
        return {name: value for name, value in found.items() if name not in names}

    attribute = "__annotations__" if _annotate_of(cls) is None else "__annotate__"
    whole = getattr(cls, attribute)
    setattr(cls, attribute, hide(whole) if attribute == "__annotations__" else _then(cls, hide))
    try:
        yield
    finally:
        setattr(cls, attribute, whole)


def annotate_converted(init: Any, converters: Mapping[str, Callable[[Any], Any]]) -> None:
    """Annotates the parameters of a constructor with what their converters take.

    Run-time type checkers check the arguments against these: before conversion, not after it.
    """

    def convert(found: Mapping[str, Any], format: Any = None) -> dict[str, Any]:
        taken = {name: _taken_by(converter, format) for name, converter in converters.items()}
        return {**found, **taken}

    if not converters:
        return
    if _annotate_of(init) is None:
        init.__annotations__ = convert(init.__annotations__)
    else:
        init.__annotate__ = _then(init, convert)


def _annotate_of(owner: Any) -> Any:
    """The `__annotate__` of `owner`; `None` before Python 3.14."""
    return None if annotationlib is None else owner.__annotate__


def _then(owner: Any, change: Callable[[Mapping[str, Any], Any], dict[str, Any]]) -> Any:
    """An `__annotate__` for `owner` that changes what its present one returns."""
    annotate = owner.__annotate__

    def __annotate__(format: Any, /) -> dict[str, Any]:
        found = annotationlib.call_annotate_function(annotate, format, owner=owner)
        return change(found, format)

    return __annotate__


def _taken_by(converter: Callable[[Any], Any], format: Any) -> Any:
    """The type that `converter` says it takes, in a format of `annotationlib` or as a value."""
    as_text = format is not None and format == annotationlib.Format.STRING
    options = {} if format is None else {"annotation_format": format}
    try:
        parameters = _signature(converter, **options).parameters
        if not as_text and any(isinstance(p.annotation, str) for p in parameters.values()):
            parameters = inspect.signature(converter, eval_str=True).parameters
        annotation = next(iter(parameters.values())).annotation
    except Exception:  # A builtin without a signature, a name that is not there when it runs, ...
        annotation = Any
    if annotation is inspect.Parameter.empty:
        annotation = Any
    if as_text and not isinstance(annotation, str):
        return annotationlib.type_repr(annotation)
    return annotation
