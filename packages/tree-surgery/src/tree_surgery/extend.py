"""For authors of packages: names that are public in one module and defined in another, and the
comparison of structures.

- `public`: marks a class or function, so that it shows the path under which it is public.
- `lazy_names`: a module's names, each loaded when it is first asked for.
- `moved_names`: modules that a package once had, for old pickles.
- `first_difference`: the first place at which two trees differ, a `Difference`.
- `array_text`: an array in the text of an error, `float32[2,3]`.
"""

import typing as _typing

from ._lazy import lazy_names as lazy_names
from ._lazy import moved_names as moved_names
from ._public import public as public

if _typing.TYPE_CHECKING:
    from ._compare.first_difference import Difference as Difference
    from ._compare.first_difference import first_difference as first_difference
    from ._show.array_text import array_text as array_text
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "._compare.first_difference": "Difference, first_difference",
            "._lazy": "lazy_names, moved_names",
            "._public": "public",
            "._show.array_text": "array_text",
        },
    )
