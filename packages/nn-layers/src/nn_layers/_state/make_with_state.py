"""A model and its state made at once: the initial values move from the model into the state."""

import functools
from collections.abc import Callable
from typing import Any

import jax.tree_util as jtu

from nn_layers._types import P, T

from .state import State
from .state_index import is_state_index, marked_index, without_init


def delete_init_state(model: T) -> T:
    """A copy of a model without the initial values in its `StateIndex`es.

    `make_with_state` does so: else the optimiser would see them as parameters.

    **Arguments:**

    - `model`: a PyTree.

    **Returns:** the copy. It cannot be made a `State` of any more.

    !!! example

        ```python
        import jax
        from nn_layers import BatchNorm, State, delete_init_state

        norm = BatchNorm(3, "batch", mode="batch", channelwise_affine=False)
        state = State(norm)
        norm = delete_init_state(norm)
        assert len(jax.tree.leaves(state)) == 3
        ```
    """

    def delete(x: Any) -> Any:
        return without_init(x) if is_state_index(x) else x

    return jtu.tree_map(delete, model, is_leaf=is_state_index)


def make_with_state(make_model: Callable[P, T]) -> Callable[P, tuple[T, State]]:
    """Makes a model and its state at once.

    **Arguments:**

    - `make_model`: a class of models, or any function that returns one.

    **Returns:**

    A function of the arguments of `make_model`, which returns `(model, state)`. Each `StateIndex`
    in `model` is marked by its path, such as `Sequential.layers[1].batch_counter`, so that equal
    models have equal states, and a state can be saved, loaded and made under `vmap` (an ensemble).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from filtered_transforms import filter_vmap
        from nn_layers import BatchNorm, Linear, Sequential, make_with_state

        def make(key):
            return Sequential([Linear(3, 2, key=key), BatchNorm(2, "batch", mode="batch")])

        model, state = make_with_state(make)(jax.random.key(0))
        batched = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, state = batched(jnp.ones((8, 3)), state)

        keys = jax.random.split(jax.random.key(1), 5)
        ensemble, states = filter_vmap(make_with_state(make))(keys)
        assert ensemble.layers[0].weight.shape == (5, 2, 3)
        ```
    """

    @functools.wraps(make_model)
    def make(*args: P.args, **kwargs: P.kwargs) -> tuple[T, State]:
        model = make_model(*args, **kwargs)
        root = type(model).__name__
        leaves, treedef = jtu.tree_flatten_with_path(model, is_leaf=is_state_index)
        named: list[Any] = [
            marked_index(root + jtu.keystr(path), leaf.init) if is_state_index(leaf) else leaf
            for path, leaf in leaves
        ]
        model = treedef.unflatten(named)
        return delete_init_state(model), State(model)

    return make
