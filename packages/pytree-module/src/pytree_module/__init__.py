"""Classes that are PyTrees: `Module`, its fields, abstract attributes and bound methods."""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    # In this order: pyright 1.1.414 does not know the metaclass of generic classes if `ClassVar`,
    # which `AbstractClassVar` is to it, is the first name that it looks at in a package.
    # isort: off
    from ._abstract import AbstractVar as AbstractVar
    from ._abstract import AbstractClassVar as AbstractClassVar

    # isort: on
    from ._bound_method import BoundMethod as BoundMethod
    from ._field import field as field
    from ._field import static_field as static_field
    from ._from_fields import module_from_fields as module_from_fields
    from ._module import Module as Module
    from ._partial import Partial as Partial
    from ._static import Static as Static
    from ._strict import StrictConfig as StrictConfig
    from ._update_wrapper import module_update_wrapper as module_update_wrapper
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._abstract": "AbstractClassVar, AbstractVar",
            "._bound_method": "BoundMethod",
            "._field": "field, static_field",
            "._from_fields": "module_from_fields",
            "._module": "Module",
            "._partial": "Partial",
            "._static": "Static",
            "._strict": "StrictConfig",
            "._update_wrapper": "module_update_wrapper",
        },
    )
