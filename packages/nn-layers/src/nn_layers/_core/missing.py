"""The default of an argument that `None` may be given for."""

from typing import Any, final


@final
class Missing:
    """Its one instance, `MISSING`, is what a signature shows of such an argument."""

    def __repr__(self) -> str:
        return "<not given>"


MISSING: Any = Missing()
