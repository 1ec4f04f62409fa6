"""Classes that are PyTrees: `Module`, its fields, abstract attributes and bound methods."""

from ._abstract import AbstractClassVar as AbstractClassVar
from ._abstract import AbstractVar as AbstractVar
from ._field import field as field
from ._field import static_field as static_field
from ._from_fields import module_from_fields as module_from_fields
from ._method import BoundMethod as BoundMethod
from ._module import Module as Module
from ._partial import Partial as Partial
from ._static import Static as Static
from ._strict import StrictConfig as StrictConfig
from ._wrapper import module_update_wrapper as module_update_wrapper

__version__ = "0.1.0"

__all__ = [
    "AbstractClassVar",
    "AbstractVar",
    "BoundMethod",
    "Module",
    "Partial",
    "Static",
    "StrictConfig",
    "field",
    "module_from_fields",
    "module_update_wrapper",
    "static_field",
]

# What users see in a repr and in a pickle is the public path, wherever the code stands.
for _name in __all__:
    globals()[_name].__module__ = __name__
