"""An instance of a module class from the values of its fields."""

from typing import Any, TypeVar

from tree_surgery.extend import public

from ._construction import class_info_of, refuse_abstract, with_values
from ._module import Module

_M = TypeVar("_M", bound=Module)


@public
def module_from_fields(cls: type[_M], like: Module | None = None, /, **fields: Any) -> _M:
    """An instance of a `Module` class with these fields, made without its `__init__`.

    For containers that build modules from parts of others. Converters and `__check_init__` do not
    run either. In all other respects the instance is like one from the constructor, unlike the
    result of `object.__new__`.

    **Arguments:**

    - `cls`: the class.
    - `like`: an instance that provides the remaining fields, and the attributes that
        `module_update_wrapper` has added to it. Its class may be another, such as a base of `cls`.
    - `**fields`: the values of the fields, by name. One that is left out takes its default.

    **Returns:** the instance. There are no warnings about the values of its fields.

    **Raises:** `TypeError` if `cls` is not a module class or is abstract, has no field of such a
    name, or has a field without a value; or if a static field holds a JAX array.

    !!! example

        ```python
        import jax.numpy as jnp
        from pytree_module import Module, module_from_fields

        class Table(Module):
            rows: jnp.ndarray

            def __init__(self, size: int):
                self.rows = jnp.zeros(size)

            def head(self, n: int) -> "Table":
                return module_from_fields(Table, rows=self.rows[:n])

        assert Table(5).head(2).rows.shape == (2,)
        ```
    """
    if not (isinstance(cls, type) and issubclass(cls, Module)):  # pyright: ignore[reportUnnecessaryIsInstance] (a user's mistake)
        raise TypeError(f"`module_from_fields` expects a class of modules, got {cls!r}.")
    info = class_info_of(cls)
    if info.is_abstract:
        refuse_abstract(cls, info.open_abstract)
    unknown = [name for name in fields if name not in info.names]
    if unknown:
        names = ", ".join((*info.dynamic, *info.static)) or "none"
        raise TypeError(
            f"`module_from_fields`: `{cls.__qualname__}` has no field `{unknown[0]}`. Its fields "
            f"are: {names}."
        )
    return with_values(cls, like, fields)
