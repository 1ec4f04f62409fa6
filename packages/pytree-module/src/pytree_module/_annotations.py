"""The annotations of one class body, on every Python version."""

import inspect
import sys
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib

    def own_annotations(cls: type) -> dict[str, Any]:
        """The annotations in the body of `cls`; names not yet defined stay forward references."""
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)

else:

    def own_annotations(cls: type) -> dict[str, Any]:
        """The annotations in the body of `cls`; strings stay strings."""
        return inspect.get_annotations(cls)
