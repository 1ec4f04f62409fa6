"""Modules that wrap a function and take its name, docstring and signature."""

from typing import Any, TypeVar

from tree_surgery.extend import public

from ._bare_instance import bare_instance
from ._flatten_codegen import expect_irregular
from ._irregular_instances import WRAPPER_NAMES
from ._module import Module

_M = TypeVar("_M", bound=Module)


@public
def module_update_wrapper(wrapper: _M, wrapped: object = None) -> _M:
    """Like `functools.update_wrapper`, for a `Module`: returns a copy with the name of `wrapped`.

    The copy has the `__module__`, `__name__`, `__qualname__`, `__doc__` and `__annotations__` of
    `wrapped`, as far as it has them, beside its fields. They are part of the tree's structure:
    they survive flattening and are compared.

    **Arguments:**

    - `wrapper`: an instance of a class that has `__wrapped__`, usually a property which returns
        the field that holds the wrapped function. `inspect.signature` follows it.
    - `wrapped`: what is wrapped; by default `wrapper.__wrapped__`.

    **Returns:**

    A copy of `wrapper` with these attributes. `wrapper` itself does not change.

    **Raises:** `TypeError` if `wrapper` is not a `Module`; `ValueError` if it has no `__wrapped__`
    and none is given.

    !!! example

        ```python
        from collections.abc import Callable

        from pytree_module import Module, module_update_wrapper

        class Doubled(Module):
            fn: Callable

            @property
            def __wrapped__(self):
                return self.fn

            def __call__(self, *args, **kwargs):
                return 2 * self.fn(*args, **kwargs)

        def add(x, y):
            "Adds."
            return x + y

        doubled = module_update_wrapper(Doubled(add))
        assert doubled.__name__ == "add" and doubled(1, 2) == 6
        ```
    """
    if not isinstance(wrapper, Module):  # pyright: ignore[reportUnnecessaryIsInstance] (a user's mistake)
        raise TypeError(
            f"`module_update_wrapper` expects a Module as `wrapper`, got a "
            f"{type(wrapper).__name__}. For a function use `functools.update_wrapper`."
        )
    if wrapped is None:
        if not hasattr(type(wrapper), "__wrapped__") and not hasattr(wrapper, "__wrapped__"):
            raise ValueError(
                f"Wrapper module must supply `__wrapped__`: `{type(wrapper).__qualname__}` has "
                f"none. Give it a property of that name which returns the wrapped function, or "
                f"pass `wrapped=`."
            )
        wrapped = wrapper.__wrapped__  # pyright: ignore[reportAttributeAccessIssue]
    copied = bare_instance(type(wrapper))
    values: dict[str, Any] = vars(copied)
    values.update(vars(wrapper))
    for name in WRAPPER_NAMES:
        if hasattr(wrapped, name):
            values[name] = getattr(wrapped, name)
    expect_irregular(type(copied))
    return copied
