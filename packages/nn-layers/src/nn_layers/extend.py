"""For authors of layers: what the layers here are made of.

- `default_init`: how weights and biases are drawn.
- `dot_product_attention`, `dot_product_attention_weights`: attention of one head.
- `ntuple`: an argument that is said once, or for each spatial dimension.
"""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from ._attention.dot_product import dot_product_attention as dot_product_attention
    from ._attention.dot_product import (
        dot_product_attention_weights as dot_product_attention_weights,
    )
    from ._conv.padding import ntuple as ntuple
    from ._core.initialisers import default_init as default_init
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._attention.dot_product": "dot_product_attention, dot_product_attention_weights",
            "._conv.padding": "ntuple",
            "._core.initialisers": "default_init",
        },
    )
