"""For authors of packages: names that are public in one module, and defined in another.

- `public`: marks a class or function, so that it shows the path under which it is public.
- `lazy_names`: a module's names, each loaded when it is first asked for.
"""

from ._lazy import lazy_names as lazy_names
from ._public import public as public

__all__ = ["lazy_names", "public"]
