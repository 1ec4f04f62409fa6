"""`tensor_parallel`: rules that split the matrices of our layers so that few results are exchanged.

A matrix whose *output* is split is followed by one whose *input* is split in the same way: each
device computes its part of the hidden values and a part of the sum, and one all-reduce adds the
sums up. Which matrices follow each other is known here, for each layer; `tree_surgery` knows only
shapes and paths.
"""

import re
from collections.abc import Callable
from typing import Any

from jax.sharding import PartitionSpec

from nn_layers._attention.multihead import MultiheadAttention
from nn_layers._dense.embedding import Embedding
from nn_layers._dense.mlp import MLP
from tree_surgery import ShardingRules, where
from tree_surgery.extend import public


@public
def tensor_parallel(axis: str = "model") -> ShardingRules:
    """Rules by which the matrices of attention, MLPs and embeddings are split over `axis`.

    - `MultiheadAttention`: queries, keys and values by head, the output by its input.
    - `MLP`: the output of every other layer, beginning with the first, and the input of those
        between.
    - `Embedding`: the table by entries if their number divides, else by features.

    The same holds within a `Stacked`, whose leading axis stays whole. All other arrays are
    replicated, unless rules that are added say more. With an axis for the batch, and parameters
    split over that too, it is `fsdp("data", over=tensor_parallel("model"))`.

    **Arguments:**

    - `axis`: the axis of the mesh.

    **Returns:** a [`tree_surgery.ShardingRules`][].

    **Source:** [Shoeybi et al., "Megatron-LM", 2019](https://arxiv.org/abs/1909.08053).

    !!! example

        ```python
        import jax
        from jax.sharding import AbstractMesh, PartitionSpec as P
        from nn_layers import MLP, tensor_parallel
        from tree_surgery import tree_shardings

        mlp = MLP(4, 4, 16, depth=1, key=jax.random.key(0))
        shardings = tree_shardings(mlp, tensor_parallel(), AbstractMesh((8,), ("model",)))
        first, last = shardings.layers
        assert (first.weight.spec, first.bias.spec) == (P("model", None), P("model"))
        assert (last.weight.spec, last.bias.spec) == (P(None, "model"), P())
        ```
    """
    return ShardingRules(
        [
            (where.type(MultiheadAttention), _Split(axis, _of_attention)),
            (where.type(MLP), _Split(axis, _of_mlp)),
            (where.type(Embedding), _Split(axis, _of_embedding)),
        ]
    )


class _Split:
    """A spec that splits one dimension, counted from the end, or none.

    Counted so, it is the same dimension within a `Stacked`, whose arrays have one more in front.
    """

    __slots__ = ("axis", "dimension")

    def __init__(self, axis: str, dimension: Callable[[str, Any, int], int | None]):
        self.axis = axis
        self.dimension = dimension

    def __repr__(self) -> str:
        return f"{self.dimension.__name__.strip('_')} split over {self.axis!r}"

    def __call__(self, path: str, leaf: Any, mesh: Any) -> PartitionSpec:
        dimension = self.dimension(path, leaf, mesh.shape.get(self.axis, 1))
        if dimension is None or leaf.ndim < -dimension:
            return PartitionSpec()
        entries: list[str | None] = [None] * leaf.ndim
        entries[dimension] = self.axis
        return PartitionSpec(*entries)


def _output(path: str) -> int | None:
    """The dimension of a `Linear`'s output: rows of `weight`, `(out, in)`, and all of `bias`."""
    return -2 if path.endswith("weight") else -1


def _input(path: str) -> int | None:
    """The dimension of a `Linear`'s input: columns of `weight`; each device adds all of `bias`."""
    return -1 if path.endswith("weight") else None


def _of_attention(path: str, leaf: Any, parts: int) -> int | None:
    if re.search(r"\b(query|key|value)_proj\.", path):
        return _output(path)
    return _input(path) if "output_proj." in path else None


def _of_mlp(path: str, leaf: Any, parts: int) -> int | None:
    found = re.search(r"\blayers\[(\d+)\]\.(weight|bias)$", path)
    if found is None:  # an activation with parameters
        return None
    return _input(path) if int(found[1]) % 2 else _output(path)


def _of_embedding(path: str, leaf: Any, parts: int) -> int | None:
    return -2 if leaf.shape[-2] % parts == 0 else -1
