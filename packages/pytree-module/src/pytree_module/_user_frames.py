"""The frames of the user's code: those that belong neither to this project nor to JAX."""

import inspect
import os
import warnings
from collections.abc import Iterator
from types import FrameType

from tree_surgery.extend import public

_PACKAGES = frozenset(
    {
        "runtime_checks",
        "nn_layers",
        "filtered_transforms",
        "pytree_module",
        "tree_surgery",
        "equinoctial",
        "jax",
        "jaxtyping",
    }
)
# Also modules of Python that occur between a line of the user and the function that it calls.
_HIDDEN = _PACKAGES | {"contextlib", "copy", "dataclasses", "functools"}
# For frames of which only the file is known: folders of the packages above.
_FOLDERS = tuple(f"/{name}/" for name in sorted(_PACKAGES))


def _is_hidden(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    # A generated `__init__` belongs to the user's class, but has no line to show.
    generated = frame.f_code.co_filename == "<string>" and frame.f_code.co_name == "__init__"
    return generated or module.partition(".")[0] in _HIDDEN


@public("pytree_module.extend")
def user_frames() -> Iterator[FrameType]:
    """The frames of the user's code, innermost first: not those of this project, JAX and the like.

    ```python
    from pytree_module.extend import user_frames

    def here():
        return next(user_frames()).f_code.co_name

    assert here() == "here"
    ```
    """
    frame = inspect.currentframe()
    while frame is not None:
        if not _is_hidden(frame):
            yield frame
        frame = frame.f_back


@public("pytree_module.extend")
def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """As `warnings.warn`, at the line of the user's code that led here.

    For example the line that makes a layer, even if a subclass, `make_with_state` or `filter_vmap`
    is in between; a fixed `stacklevel` cannot account for these.

    **Arguments:**

    - `message`, `category`: as for `warnings.warn`.

    ```python
    import warnings
    from pytree_module.extend import warn_user

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_user("write it otherwise")
    assert str(caught[0].message) == "write it otherwise"
    ```
    """
    level, frame = 1, inspect.currentframe()
    while frame is not None and _is_hidden(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@public("pytree_module.extend")
def is_library_file(file: str) -> bool:
    """Whether a file belongs to this project, to JAX or to jaxtyping, by its path.

    ```python
    import jax
    from pytree_module.extend import is_library_file

    assert is_library_file(jax.__file__) and not is_library_file("train.py")
    ```
    """
    path = file.replace(os.sep, "/")
    return any(f"/src{folder}" in path or f"/site-packages{folder}" in path for folder in _FOLDERS)
