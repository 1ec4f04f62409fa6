"""Dropout."""

from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import jax.random as jr
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, PRNGKeyArray

from pytree_module import Module
from pytree_module.extend import warn_user
from tree_surgery.extend import public

_RENAMED = "`deterministic` is deprecated in favour of `inference`, which means the same: {use}."


@public
class Dropout(Module):
    r"""Zeroes each element with probability `p`, and divides the others by $1 - p$.

    $y_i = x_i m_i / (1 - p)$ with independent $m_i \sim \text{Bernoulli}(1 - p)$, so the
    expectation of $y$ is $x$. In inference mode $y = x$.

    **Shapes:** any, of input and output alike. There are no parameters to train: `p` may be an
    array, and never receives a gradient.

    **Arguments:**

    - `p`: the probability of an element to be zeroed, a number or a scalar array.
    - `inference`: whether to do nothing. `inference_mode` switches it for a whole model; the call
        can override it.
    - `deterministic`: deprecated; an earlier name of `inference`.

    **Raises:** `ValueError` if `p` is a number outside $[0, 1]$.

    **Source:** [Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", 2014](https://jmlr.org/papers/v15/srivastava14a.html).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Dropout, inference_mode

        dropout = Dropout(0.25)
        x = jnp.ones(1000)
        y = dropout(x, key=jax.random.key(0))
        assert jnp.all((y == 0) | jnp.isclose(y, 4 / 3))
        assert jnp.all(inference_mode(dropout)(x) == x)
        ```
    """

    p: float | Array
    inference: bool | Array

    def __init__(
        self,
        p: float | Array = 0.5,
        inference: bool = False,
        *,
        deterministic: bool | None = None,
    ):
        if deterministic is not None:
            use = f"write `Dropout(..., inference={deterministic})`"
            warn_user(_RENAMED.format(use=use))
            inference = deterministic
        if isinstance(p, (int, float)) and not 0 <= p <= 1:
            raise ValueError(f"`Dropout`: `p` is a probability, in [0, 1]; got {p}.")
        self.p = p
        self.inference = inference

    @property
    def deterministic(self) -> bool | Array:
        """Deprecated: an earlier name of `inference`."""
        return self.inference

    def __call__(
        self,
        x: Array,
        *,
        key: PRNGKeyArray | None = None,
        inference: bool | None = None,
        deterministic: bool | None = None,
    ) -> Array:
        """Drops elements of one array.

        **Arguments:**

        - `x`: an array of any shape.
        - `key`: what the elements are chosen by. Needed unless in inference mode, or `p` is the
            number 0.
        - `inference`: overrides the field of that name.
        - `deterministic`: deprecated; an earlier name of `inference`.

        **Returns:** an array of the shape of `x`.

        **Raises:** `RuntimeError` if there is no key and one is needed.
        """
        if deterministic is not None:
            use = f"write `dropout(x, inference={deterministic})`"
            warn_user(_RENAMED.format(use=use))
            inference = deterministic
        flag: Any = self.inference if inference is None else inference
        traced = _is_traced(flag)
        if not traced and flag:
            return x
        if isinstance(self.p, (int, float)) and self.p == 0:
            return x
        if key is None:
            _refuse_no_key(traced)
        y = _drop(x, self.p, key)
        # Under plain `jax.jit` the flag of a model is traced; then both branches exist.
        return jnp.where(flag, x, y) if traced else y


def _drop(x: Array, p: Any, key: PRNGKeyArray) -> Array:
    keep = 1.0 - jax.lax.stop_gradient(p)
    # The name is for policies of `jax.checkpoint`: drawing again costs more than a byte each.
    mask = checkpoint_name(jr.bernoulli(key, keep, jnp.shape(x)), "dropout_mask")
    if isinstance(keep, (int, float)):
        scale = keep if keep > 0 else 1.0
    else:
        # At p = 1 nothing is kept. Dividing by 0 would make gradients NaN there.
        scale = jnp.where(keep == 0, jnp.ones_like(keep), keep)
        if jnp.issubdtype(x.dtype, jnp.inexact):
            scale = scale.astype(x.dtype)
    y = x / scale
    return jnp.where(mask, y, jnp.zeros_like(y))


def _is_traced(flag: Any) -> bool:
    try:
        bool(flag)
    except jax.errors.TracerBoolConversionError:
        return True
    return False


def _refuse_no_key(traced: bool) -> NoReturn:
    if traced:
        raise RuntimeError(
            "Dropout requires a key when running in non-deterministic mode, and cannot know which "
            "mode this is: its `inference` flag is traced, as plain `jax.jit` does with every leaf "
            "of a model. Use `filter_jit`, which keeps flags static, or pass `key=`."
        )
    raise RuntimeError(
        "Dropout requires a key when running in non-deterministic mode: call it as "
        "`dropout(x, key=key)`, with a fresh key each time. For evaluation use "
        "`inference_mode(model)`, which needs no key."
    )
