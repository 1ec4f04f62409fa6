"""Editing, selecting, freezing, tying and comparing: what `tree_surgery` says of a user's tree.

Checked by pyright and mypy, never run.
"""

from typing import Any, assert_type

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pytree_module import Module
from tree_surgery import (
    Equality,
    Frozen,
    Selector,
    TreeChange,
    TreeDiff,
    TreeSize,
    apply_updates,
    at,
    find_shared,
    freeze,
    path_str,
    tie,
    trainable,
    tree_apply,
    tree_at,
    tree_cast,
    tree_diff,
    tree_equal,
    tree_flatten_one_level,
    tree_labels,
    tree_mask,
    tree_paths,
    tree_pformat,
    tree_replace,
    tree_select,
    tree_set,
    tree_size,
    tree_stack,
    tree_summary,
    tree_unstack,
    unfreeze,
    untie,
    where,
)


class Linear(Module):
    weight: jax.Array
    bias: jax.Array | None = None


class Net(Module):
    layers: list[Linear]
    head: Linear
    name: str = "net"


y = jnp.ones(3)
head = Linear(y)
net = Net([head], head)
arrays = {"w": y, "b": y}


# `tree_at`, with a function of the tree. To the function the tree is a `Net`.


def weights(net: Net) -> tuple[jax.Array, jax.Array]:
    return net.head.weight, net.layers[0].weight


def head_of(net: Net) -> Linear:
    return net.head


def doubled(x: jax.Array) -> jax.Array:
    return 2 * x


def halved(layer: Linear) -> Linear:
    return layer


def reverse(layers: list[Linear]) -> list[Linear]:
    return layers[::-1]


assert_type(tree_at(lambda n: n.head.weight, net, y), Net)
assert_type(tree_at(lambda n: n.head.bias, net, y, is_leaf=lambda x: x is None), Net)
assert_type(tree_at(lambda n: (n.head.weight, n.layers[0].weight), net, (y, y)), Net)
assert_type(tree_at(lambda n: [layer.weight for layer in n.layers], net, [y]), Net)
assert_type(tree_at(lambda n: n.head.weight, net, replace_fn=lambda w: 2 * w), Net)
assert_type(tree_at(lambda n: n.head.weight, net, replace_fn=doubled), Net)
assert_type(tree_at(lambda n: n.layers, net, replace_fn=reverse), Net)
assert_type(tree_at(lambda n: n.layers, net, replace_fn=lambda layers: layers[::-1]), Net)
assert_type(tree_at(head_of, net, replace_fn=halved), Net)
assert_type(tree_at(head_of, net, replace_fn=lambda layer: layer.weight), Net)
assert_type(tree_at(weights, net, replace_fn=doubled), Net)
assert_type(tree_at(lambda d: d["w"], arrays, y), dict[str, jax.Array])

# With a pattern, a type or a selector.

assert_type(tree_at("head.weight", net, y), Net)
assert_type(tree_at("layers.*.weight", net, replace_fn=doubled), Net)
assert_type(tree_at(Linear, net, replace_fn=halved), Net)
assert_type(tree_at(Linear, net, replace_fn=lambda layer: layer.weight), Net)
assert_type(tree_at(where.path("head") & where.type(Linear), net, replace_fn=halved), Net)


# Selectors.

selector = where("**.weight") | where.type(Linear, jax.Array | None) & ~where.path("head")
assert_type(selector, Selector)
assert_type("head" | where.leaf(lambda path, leaf: leaf.ndim > 1 or "bias" in path), Selector)
assert_type(where(["head", Linear, lambda path, leaf: leaf.ndim > 1]), Selector)
assert_type(where.path("head", optional=True), Selector)


# Setting, applying, selecting.

assert_type(tree_set(net, "head.bias", None), Net)
assert_type(tree_set(net, {"head.bias": None, "name": "other"}), Net)
assert_type(tree_set(net, {Linear: head, selector: None}), Net)
assert_type(tree_set(net, jax.Array | Linear, None), Net)
assert_type(tree_apply(net, "**.weight", doubled), Net)
assert_type(tree_apply(net, Linear, lambda layer: layer.weight), Net)
assert_type(tree_apply(net, jax.Array, doubled), Net)
assert_type(tree_apply(net, lambda path, leaf: path == "head", lambda x: x), Net)
assert_type(tree_replace(head, bias=None), Linear)

assert_type(tree_select(net, "layers.*"), dict[str, Any])
assert_type(tree_select(net, Linear), dict[str, Linear])
assert_type(tree_select(net, selector), dict[str, Any])

assert_type(at(net)["head.bias"].set(None), Net)
assert_type(at(net)["head.bias"].get(), Any)  # a node, or for a pattern a dictionary
assert_type(at(net)["**.weight"].apply(doubled), Net)
assert_type(at(net)[Linear].get(), dict[str, Linear])
assert_type(at(net)[Linear].apply(lambda layer: layer.weight), Net)
assert_type(at(net)[selector].get(), dict[str, Any])
assert_type(at(net)[["head", Linear]].set(None), Net)
assert_type(at(arrays)["w"].set(y), dict[str, jax.Array])


# Trees of the same type.

assert_type(tree_cast(net, jnp.bfloat16), Net)
assert_type(tree_cast(net, "float32", where=Linear), Net)
assert_type(tree_cast(net, np.dtype("float32"), ["head", selector]), Net)
assert_type(freeze(net, "head"), Net)
assert_type(unfreeze(freeze(net, Linear)), Net)
assert_type(unfreeze(net, "head"), Net)
assert_type(tie(net, [("head", "layers[0]"), (selector, Linear)]), Net)
assert_type(untie(net), Net)
assert_type(tree_stack([net, net]), Net)
assert_type(tree_stack((head, head), axis=1), Linear)
assert_type(tree_unstack(net), list[Net])
assert_type(apply_updates(net, net), Net)

optimiser = optax.adam(1e-3)
updates, state = optimiser.update({"w": y}, optimiser.init({"w": y}), {"w": y})
assert_type(apply_updates(arrays, updates), dict[str, jax.Array])

# Trees of the same structure, whose leaves are `bool` or labels: no type says that.

assert_type(tree_mask(net, "**.weight"), Any)
assert_type(trainable(net), Any)
assert_type(tree_labels(net, {"slow": Linear, "fast": "head"}, default="none"), Any)
masked: optax.GradientTransformation = optax.masked(optimiser, trainable(arrays))


# Comparing and looking.

assert_type(tree_equal(net, net), bool | jax.Array)
assert_type(tree_equal(net, net, net, rtol=1e-3, atol=y, typematch=True), bool | jax.Array)
assert_type(tree_equal(net, net, explain=True), Equality)
assert_type(tree_equal(net, net, explain=True).path, str | None)
assert_type(tree_diff(net, arrays), TreeDiff)
assert_type(tree_diff(net, arrays).changed, list[TreeChange])
assert_type(tree_paths(net), list[str])
assert_type(tree_paths(net, Linear), list[str])
assert_type(find_shared(net), list[list[str]])
assert_type(tree_size(net), TreeSize)
assert_type(tree_size(net).bytes, int)
assert_type(tree_summary(net, depth=1, format="markdown"), str)
assert_type(tree_pformat(net, width=100, truncate_leaf=lambda x: isinstance(x, Linear)), str)
assert_type(path_str((jax.tree_util.DictKey("w"),)), str)
assert_type(tree_flatten_one_level(net)[0], list[Any])
assert_type(tree_select(freeze(net, "head"), Frozen), dict[str, Frozen])
