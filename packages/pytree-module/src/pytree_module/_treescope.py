"""Rendering of modules by treescope, if it is installed."""

import dataclasses
from typing import Any


def render(module: Any, path: str | None, subtree_renderer: Any) -> Any:
    """The `__treescope_repr__` of a module: its constructor's name and the fields that it prints.

    Called by treescope, which is imported only here: it is not a dependency.
    """
    from treescope import repr_lib

    return repr_lib.render_object_constructor(
        object_type=type(module),
        attributes={
            field.name: getattr(module, field.name)
            for field in dataclasses.fields(module)
            if field.repr
        },
        path=path,
        subtree_renderer=subtree_renderer,
        roundtrippable=type(module).__dataclass_params__.init,
    )
