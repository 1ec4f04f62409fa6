"""`MLP`: the multi-layer perceptron."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from filtered_transforms import is_array
from nn_layers._core.explicit_sharding import with_sharding_of
from nn_layers._core.initialisers import separate_keys
from nn_layers._core.key_arguments import split_key
from nn_layers._core.shape_errors import add_layer_path, validate_size
from nn_layers._types import DType
from pytree_module import Module, field
from tree_surgery.extend import public

from .linear import Linear


def _identity(x: Any) -> Any:
    """The default of `final_activation`."""
    return x


def _broadcast_arrays(activation: Any, *axes: int) -> Any:
    """The activation function with new leading axes for every array in it."""

    def repeat(x: Any) -> Any:
        return jax.lax.broadcast(x, axes) if is_array(x) else x

    return jtu.tree_map(repeat, activation)


def _split_arrays(activation: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The arrays in an activation function, and a function that puts others in their place."""
    leaves, treedef = jtu.tree_flatten(activation)
    where = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

    def rebuild(arrays: list[Any]) -> Any:
        full = list(leaves)
        for i, array in zip(where, arrays, strict=True):
            full[i] = array
        return treedef.unflatten(full)

    return [leaves[i] for i in where], rebuild


_ELEMENTWISE: tuple[Any, ...] = (
    _identity,
    jax.nn.relu,
    jax.nn.relu6,
    jax.nn.gelu,
    jax.nn.silu,
    jax.nn.elu,
    jax.nn.selu,
    jax.nn.celu,
    jax.nn.leaky_relu,
    jax.nn.sigmoid,
    jax.nn.softplus,
    jax.nn.soft_sign,
    jnp.tanh,
    jnp.sin,
    jnp.exp,
    lax.tanh,
)
"""Functions that give the same for a vector as for each of its elements."""


def _apply_per_neuron(activation: Any, x: Array) -> Array:
    """Applies the activation function to each neuron, a scalar, with that neuron's own arrays."""
    # Tracing a `jax.vmap` takes longer than all else here, and is not needed for these.
    if any(activation is known for known in _ELEMENTWISE):
        return activation(x)
    arrays, rebuild = _split_arrays(activation)
    if not arrays:
        return jax.vmap(activation)(x)
    return jax.vmap(lambda own, scalar: rebuild(own)(scalar))(arrays, x)


@public
class MLP(Module):
    r"""A multi-layer perceptron: affine maps with an activation function between them.

    $$h_0 = x, \qquad h_{i} = \sigma(W_i h_{i-1} + b_i) \text{ for } i = 1 \dots \texttt{depth},
    \qquad y = \sigma_\text{final}(W h_\texttt{depth} + b)$$

    **Shapes:** the input is `(in_size,)`, the output `(out_size,)`; `"scalar"` means `()`.

    **Initialisation:** `layers` is a tuple of `depth + 1` `Linear` layers, each initialised as
    described there, from `depth + 1` keys split from `key`.

    Activation functions are applied to each neuron, a scalar, on its own. If an activation function
    has arrays in it, each neuron gets a copy for itself: their shapes are prefixed by
    `(depth, width_size)` in `activation`, and by `(out_size,)` in `final_activation`.

    **Arguments:**

    - `in_size`, `out_size`: sizes of input and output, integers or `"scalar"`.
    - `width_size`: the size of each hidden layer.
    - `depth`: how many hidden layers there are. 0 is a single affine map.
    - `activation`: what follows each hidden layer.
    - `final_activation`: what follows the last layer; by default nothing. For an `out_size` of
        `"scalar"`, too, it sees a scalar. A softmax, which needs all outputs, goes outside.
    - `use_bias`, `use_final_bias`: whether the hidden layers and the last layer have a bias.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `scan`: stack the parameters of the hidden layers and run them by `jax.lax.scan`, which
        compiles faster if there are many. Then `layers` is `(first, stacked, last)`. Parameters and
        outputs are the same for the same key.
    - `key`: what the initial parameters are drawn from.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import MLP

        mlp = MLP(in_size=2, out_size="scalar", width_size=16, depth=2, key=jax.random.key(0))
        assert mlp(jnp.ones(2)).shape == ()
        deep = MLP(2, 1, 16, depth=50, scan=True, key=jax.random.key(0))
        assert deep.layers[1].weight.shape == (49, 16, 16)
        ```
    """

    layers: tuple[Linear, ...]
    activation: Callable[..., Any]
    final_activation: Callable[..., Any]
    use_bias: bool = field(static=True)
    use_final_bias: bool = field(static=True)
    in_size: int | Literal["scalar"] = field(static=True)
    out_size: int | Literal["scalar"] = field(static=True)
    width_size: int = field(static=True)
    depth: int = field(static=True)
    scan: bool = field(static=True, default=False)

    def __init__(  # noqa: PLR0917 - Equinox fixes it
        self,
        in_size: int | Literal["scalar"],
        out_size: int | Literal["scalar"],
        width_size: int,
        depth: int,
        activation: Callable[..., Any] = jax.nn.relu,
        final_activation: Callable[..., Any] = _identity,
        use_bias: bool = True,
        use_final_bias: bool = True,
        dtype: DType = None,
        *,
        scan: bool = False,
        key: PRNGKeyArray,
    ):
        width_size = validate_size("MLP", "width_size", width_size)
        depth = validate_size("MLP", "depth", depth)
        keys = separate_keys("MLP", key, depth + 1)
        hidden = range(1, depth)

        def middle(key: PRNGKeyArray) -> Linear:
            return Linear(width_size, width_size, use_bias, dtype, key=key)

        if depth == 0:
            self.layers = (Linear(in_size, out_size, use_final_bias, dtype, key=keys[0]),)
        else:
            first = Linear(in_size, width_size, use_bias, dtype, key=keys[0])
            last = Linear(width_size, out_size, use_final_bias, dtype, key=keys[-1])
            if scan:
                between: tuple[Linear, ...] = (
                    jax.vmap(middle)(split_key("MLP", key, depth + 1)[1:-1]),
                )
            else:
                between = tuple(middle(keys[i]) for i in hidden)
            self.layers = (first, *between, last)
        self.activation = _broadcast_arrays(activation, depth, width_size)
        if out_size != "scalar":
            final_activation = _broadcast_arrays(final_activation, out_size)
        self.final_activation = final_activation
        self.use_bias = use_bias
        self.use_final_bias = use_final_bias
        self.in_size = in_size
        self.out_size = out_size
        self.width_size = width_size
        self.depth = depth
        self.scan = scan

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Maps one vector.

        **Arguments:**

        - `x`: of shape `(in_size,)`, or `()` if that is `"scalar"`.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(out_size,)`, or `()` if that is `"scalar"`.

        **Raises:** `ShapeError` for an `x` of another shape.
        """
        arrays, rebuild = _split_arrays(self.activation)
        if self.scan and self.depth > 0:
            x = _apply_per_neuron(rebuild([a[0] for a in arrays]), self._call_layer(0, x))
            x = self._scan_hidden(x, [a[1:] for a in arrays], rebuild)
        else:
            for i in range(len(self.layers) - 1):
                x = _apply_per_neuron(rebuild([a[i] for a in arrays]), self._call_layer(i, x))
        x = self._call_layer(len(self.layers) - 1, x)
        if self.out_size == "scalar":
            return self.final_activation(x)
        return _apply_per_neuron(self.final_activation, x)

    def _call_layer(self, i: int, x: Array) -> Array:
        """`layers[i](x)`, which is named in an error."""
        layer = self.layers[i]
        try:
            return layer(x)
        except Exception as error:
            add_layer_path(error, self, f"layers[{i}]", layer)
            raise

    def _scan_hidden(
        self, x: Array, arrays: list[Any], rebuild: Callable[[list[Any]], Any]
    ) -> Array:
        """All hidden layers after the first."""

        def step(x: Array, both: tuple[Linear, list[Any]]) -> tuple[Array, None]:
            layer, own = both
            try:
                out = _apply_per_neuron(rebuild(own), layer(x))
                return with_sharding_of(out, x), None
            except Exception as error:
                add_layer_path(error, self, "layers[1]", layer)
                raise

        # A `Linear` has arrays alone as its leaves.
        return jax.lax.scan(step, x, (self.layers[1], arrays))[0]
