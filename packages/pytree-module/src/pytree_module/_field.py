"""Fields of a `Module`: `dataclasses.field` with two more options, `static` and `converter`."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, Unpack, overload

from tree_surgery.extend import public

from ._types import FieldOptions, In, T

__all__ = ["field", "static_field"]


@overload
def field(
    *,
    converter: Callable[[In], T],
    default: In,
    static: bool = False,
    **options: Unpack[FieldOptions],
) -> T: ...
@overload
def field(
    *,
    converter: Callable[[In], T],
    default_factory: Callable[[], In],
    static: bool = False,
    **options: Unpack[FieldOptions],
) -> T: ...
@overload
def field(
    *, converter: Callable[[Any], T], static: bool = False, **options: Unpack[FieldOptions]
) -> T: ...
@overload
def field(
    *, converter: None = None, default: T, static: bool = False, **options: Unpack[FieldOptions]
) -> T: ...
@overload
def field(
    *,
    converter: None = None,
    default_factory: Callable[[], T],
    static: bool = False,
    **options: Unpack[FieldOptions],
) -> T: ...
@overload
def field(
    *, converter: None = None, static: bool = False, **options: Unpack[FieldOptions]
) -> Any: ...
@public
def field(
    *, converter: Callable[[Any], Any] | None = None, static: bool = False, **kwargs: Any
) -> Any:
    """A field of a `Module`: `dataclasses.field` that can also be static and convert its value.

    **Arguments:**

    - `converter`: called once with the field's value when an instance is made, after `__init__`
        (and `__post_init__`) and before `__check_init__`; its result is what the field holds. It
        runs as well on a default, and whether `__init__` is generated or your own.
    - `static`: the value is part of the tree's structure, not a child: JAX transformations never
        see it, and a different value means a different treedef (so `jax.jit` compiles again). It
        should be hashable and must not hold a JAX array.
    - `**kwargs`: as for `dataclasses.field`: `default`, `default_factory`, `init`, `repr`, `hash`,
        `compare`, `metadata`, `kw_only`.

    **Returns:**

    The `dataclasses.Field`, with `static` and `converter` noted in its `metadata` beside the
    metadata that you pass.

    **Raises:**

    `ValueError` if `metadata` already has the key `"static"` or `"converter"` and the argument of
    that name is used as well.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from pytree_module import Module, field

        class Scale(Module):
            factor: jax.Array = field(converter=jnp.asarray)
            name: str = field(static=True, default="scale")

        assert len(jax.tree_util.tree_leaves(Scale(2.0))) == 1
        ```
    """
    metadata = dict(kwargs.pop("metadata", None) or {})
    for option, value in (("static", static or None), ("converter", converter)):
        if value is None:
            continue
        if option in metadata:
            raise ValueError(
                f"Cannot use metadata with `{option}` already set. Pass `{option}` either as an "
                f"argument of `field` or in `metadata`, not both."
            )
        metadata[option] = value
    return dataclasses.field(metadata=metadata, **kwargs)


@overload
def static_field(
    *, converter: Callable[[In], T], default: In, **options: Unpack[FieldOptions]
) -> T: ...
@overload
def static_field(
    *,
    converter: Callable[[In], T],
    default_factory: Callable[[], In],
    **options: Unpack[FieldOptions],
) -> T: ...
@overload
def static_field(*, converter: Callable[[Any], T], **options: Unpack[FieldOptions]) -> T: ...
@overload
def static_field(*, converter: None = None, default: T, **options: Unpack[FieldOptions]) -> T: ...
@overload
def static_field(
    *,
    converter: None = None,
    default_factory: Callable[[], T],
    **options: Unpack[FieldOptions],
) -> T: ...
@overload
def static_field(*, converter: None = None, **options: Unpack[FieldOptions]) -> Any: ...
@public
def static_field(**kwargs: Any) -> Any:
    """Deprecated: use `field(static=True, ...)`.

    **Arguments:** as for `field`, less `static`.

    **Returns:** `field(static=True, **kwargs)`.
    """
    warnings.warn(
        "`static_field(...)` is deprecated in favour of `field(static=True, ...)`",
        stacklevel=2,
    )
    return field(**kwargs, static=True)
