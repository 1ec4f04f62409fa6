"""The types of the public interface."""

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar

T = TypeVar("T")
In = TypeVar("In")
"""What a converter takes."""


class FieldOptions(TypedDict, total=False):
    """What `field` passes on to `dataclasses.field`, beside defaults."""

    init: bool
    repr: bool
    hash: bool | None
    compare: bool
    metadata: Mapping[Any, Any] | None
    kw_only: bool
