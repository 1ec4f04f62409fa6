"""Instances made without their `__init__`: the one place that does so.

Inside of this distribution `bare_instance` is the only way. Whoever calls it sets the fields. Then
`_construction.finish_from_fields` does the rest of what construction does; fields that are those of
an instance of the same class need no more. `module_from_fields` is all of it together, and public.
"""

from typing import Any

# The built-in itself, not a function around it: unflattening calls it once for each module.
bare_instance = object.__new__
"""`bare_instance(cls)` is an instance of `cls` whose `__dict__` is empty.

It has no field yet, so that nothing may be asked of it: not its `repr`, not its leaves.
"""


def set_by_descriptor(module: Any, name: str, value: Any) -> None:
    """Assigns as Python does where a property, or another data descriptor, stands in the class.

    It passes by `Module.__setattr__`, which knows fields alone.
    """
    object.__setattr__(module, name, value)
