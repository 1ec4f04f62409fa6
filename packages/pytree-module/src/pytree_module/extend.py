"""For authors of libraries: where in the user's code a problem is.

- `user_frames`: the frames that are neither of this project nor of JAX.
- `warn_user`: a warning at the line of the innermost of them.
- `is_library_file`: the same question, of a file.
"""

from ._user_frames import is_library_file as is_library_file
from ._user_frames import user_frames as user_frames
from ._user_frames import warn_user as warn_user

__all__ = ["is_library_file", "user_frames", "warn_user"]

for _name in __all__:
    globals()[_name].__module__ = __name__
