"""The types of the public interface."""

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar

T = TypeVar("T")
In = TypeVar("In")
"""The input of a converter."""


class FieldOptions(TypedDict, total=False):
    """Options that `field` passes on to `dataclasses.field`, except defaults."""

    init: bool
    repr: bool
    hash: bool | None
    compare: bool
    metadata: Mapping[Any, Any] | None
    kw_only: bool
