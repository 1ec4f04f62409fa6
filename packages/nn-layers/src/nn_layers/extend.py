"""For authors of layers: what the layers here are made of.

- `default_init`: how weights and biases are drawn.
- `dot_product_attention`, `dot_product_attention_weights`: attention of one head.
- `ntuple`: an argument that is said once, or for each spatial dimension.
"""

from ._attention.dot_product import dot_product_attention as dot_product_attention
from ._attention.dot_product import dot_product_attention_weights as dot_product_attention_weights
from ._conv.padding import ntuple as ntuple
from ._core.initialisers import default_init as default_init

__all__ = [
    "default_init",
    "dot_product_attention",
    "dot_product_attention_weights",
    "ntuple",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
