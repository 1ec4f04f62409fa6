"""Instances made without their `__init__`: the one place that does so.

Inside of this distribution `bare_instance` is the only way. Whoever calls it sets every field, and
then, unless the fields come from an instance of the same class, lets `_construction.adopt` do what
construction does besides. `module_from_fields` is both together, and public.
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
