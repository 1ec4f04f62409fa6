"""`Linear`: an affine map of a vector; and `Identity`, the layer that does nothing."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.explicit_sharding import has_explicit_axes, matrix_product
from nn_layers._core.initialisers import draw_weight_and_bias
from nn_layers._core.shape_errors import refuse_shape, shape_of, validate_size
from nn_layers._types import DType, T
from pytree_module import Module, field
from tree_surgery.extend import public


def _validate_features(name: str, value: Any) -> int | Literal["scalar"]:
    """A size of input or output, or "scalar"."""
    if isinstance(value, str):
        if value == "scalar":
            return "scalar"
        raise TypeError(f'`Linear`: `{name}` must be an integer or "scalar", got {value!r}.')
    return validate_size("Linear", name, value)


@public
class Linear(Module):
    r"""An affine map of a vector: $y = Wx + b$.

    **Shapes:** the input is `(in_features,)`, the output `(out_features,)`; the literal `"scalar"`
    for either means the shape `()`. `weight` is `(out_features, in_features)` and `bias` is
    `(out_features,)`, where `"scalar"` counts as 1.

    **Initialisation:** `weight` and `bias` are uniform on $[-k, k)$ with
    $k = 1/\sqrt{\texttt{in\_features}}$.

    **Arguments:**

    - `in_features`: the size of the input, or `"scalar"`.
    - `out_features`: the size of the output, or `"scalar"`.
    - `use_bias`: whether to add a bias.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`. If it is
        complex, real and imaginary part are drawn as above.
    - `key`: what the initial parameters are drawn from.

    **Raises:** `TypeError` or `ValueError` for sizes that are none.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Linear

        linear = Linear(3, 2, key=jax.random.key(0))
        x = jnp.arange(3.0)
        assert jnp.allclose(linear(x), linear.weight @ x + linear.bias)

        batch = jnp.ones((5, 3))
        assert jax.vmap(linear)(batch).shape == (5, 2)
        ```
    """

    weight: Array
    bias: Array | None
    in_features: int | Literal["scalar"] = field(static=True)
    out_features: int | Literal["scalar"] = field(static=True)
    use_bias: bool = field(static=True)

    def __init__(
        self,
        in_features: int | Literal["scalar"],
        out_features: int | Literal["scalar"],
        use_bias: bool = True,
        dtype: DType = None,
        *,
        key: PRNGKeyArray,
    ):
        self.in_features = in_features = _validate_features("in_features", in_features)
        self.out_features = out_features = _validate_features("out_features", out_features)
        self.use_bias = use_bias
        fan_in = 1 if in_features == "scalar" else in_features
        out = 1 if out_features == "scalar" else out_features
        bias_shape = (out,) if use_bias else None
        self.weight, self.bias = draw_weight_and_bias(
            "Linear", key, fan_in, (out, fan_in), bias_shape, dtype
        )

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Maps one vector.

        **Arguments:**

        - `x`: of shape `(in_features,)`, or `()` if that is `"scalar"`.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(out_features,)`, or `()` if that is `"scalar"`.

        **Raises:** `ShapeError` for an `x` of another shape.
        """
        received = shape_of(self, x)
        if self.in_features == "scalar":
            if received != ():
                refuse_shape(self, (), received)
            x = jnp.broadcast_to(x, (1,))
        elif received != (self.in_features,):
            # Somebody may have put a smaller weight in place (pruning): that one counts.
            actual = getattr(self.weight, "shape", (0, self.in_features))[-1]
            if received != (actual,):
                refuse_shape(self, (actual,), received)
        x = matrix_product(self.weight, x)
        if self.bias is not None:
            x = x + self.bias
        if self.out_features == "scalar":
            x = jnp.reshape(x, ())
        return x


def apply_to_rows(layer: Any, x: Array) -> Array:
    """`jax.vmap(layer)(x)`, without the cost of tracing a `jax.vmap` if it is a `Linear`."""
    if (
        type(layer) is not Linear
        or x.ndim != 2
        or x.shape[1] != layer.weight.shape[1]
        or x.dtype != layer.weight.dtype
    ):
        return jax.vmap(layer)(x)
    return _apply_linear_to_rows(layer.weight, layer.bias, x)


# Compiled: JAX keeps what it traced, and its derivative, for all layers of these shapes.
@jax.jit
def _apply_linear_to_rows(weight: Array, bias: Array | None, x: Array) -> Array:
    # In the form that `jax.vmap` of a `Linear` takes: the same to the last bit.
    if has_explicit_axes():
        y = matrix_product(weight, x.T).T
    else:
        y = lax.dot_general(weight, x, (((1,), (1,)), ((), ()))).T
    return y if bias is None else y + bias[None]


@public
class Identity(Module):
    """Returns its input: $y = x$.

    **Arguments:** any; they are ignored, so that it can stand in for every other layer.

    !!! example

        ```python
        from nn_layers import Identity

        assert Identity(3, 4, use_bias=False)("anything") == "anything"
        ```
    """

    def __init__(self, *args: object, **kwargs: object):
        pass

    def __call__(self, x: T, *, key: PRNGKeyArray | None = None) -> T:
        """**Returns:** `x`, whatever it is. `key` is ignored."""
        return x
