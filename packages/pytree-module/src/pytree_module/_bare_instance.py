"""Instances made without their `__init__`.

`bare_instance` is the only way inside this distribution. The caller sets the fields. Then
`_construction.finish_from_fields` does the rest of construction; it is not needed for the fields of
another instance of the same class. `module_from_fields` does all of this, and is public.
"""

from typing import Any

# The built-in itself, not a function around it: unflattening calls it once for each module.
bare_instance = object.__new__
"""`bare_instance(cls)` is an instance of `cls` whose `__dict__` is empty.

It has no fields yet, so it must not be used: neither its `repr` nor its leaves.
"""


def set_by_descriptor(module: Any, name: str, value: Any) -> None:
    """Assign through a property or another data descriptor of the class.

    Bypasses `Module.__setattr__`, which accepts fields only.
    """
    object.__setattr__(module, name, value)
