"""Classes that are PyTrees: `Module`, its fields, abstract attributes and bound methods."""

from types import FunctionType as _FunctionType
from typing import get_overloads as _get_overloads
from typing import overload as _overload

# In this order: pyright 1.1.414 does not know the metaclass of generic classes if `ClassVar`, which
# `AbstractClassVar` is to it, is the first name that it looks at in a package.
# isort: off
from ._abstract import AbstractVar as AbstractVar
from ._abstract import AbstractClassVar as AbstractClassVar

# isort: on
from ._bound_method import BoundMethod as BoundMethod
from ._bound_method import show_functions as _show_functions
from ._field import field as field
from ._field import static_field as static_field
from ._from_fields import module_from_fields as module_from_fields
from ._module import Module as Module
from ._partial import Partial as Partial
from ._static import Static as Static
from ._strict import StrictConfig as StrictConfig
from ._update_wrapper import module_update_wrapper as module_update_wrapper

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
    if isinstance(globals()[_name], _FunctionType):
        for _variant in _get_overloads(globals()[_name]):
            _variant.__module__ = __name__
            _overload(_variant)  # they are looked up by where the function is
    globals()[_name].__module__ = __name__
_show_functions(BoundMethod, __name__)
