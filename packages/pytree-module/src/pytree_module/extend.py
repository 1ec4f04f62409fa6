"""For authors of libraries: where in the user's code a problem is.

- `user_frames`: the frames that are neither of this project nor of JAX.
- `warn_user`: a warning at the line of the innermost of them.
- `is_library_file`: the same question, of a file.
"""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from ._user_frames import is_library_file as is_library_file
    from ._user_frames import user_frames as user_frames
    from ._user_frames import warn_user as warn_user
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._user_frames": "is_library_file, user_frames, warn_user",
        },
    )
