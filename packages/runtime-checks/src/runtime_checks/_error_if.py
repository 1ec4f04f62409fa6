"""`error_if` and its kin: an exception if a predicate, computed by the program, is true."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.typing import ArrayLike

from tree_surgery.extend import public

from ._check.bind import fail_now, predicate_of
from ._jax import Tracer
from ._on_error import OnError, mode_of
from ._registered import bind, check_tree
from ._types import Pred, T


@public
def error_if(x: T, pred: Pred, msg: str, *, on_error: OnError = "default") -> T:
    """Returns `x`, and raises an exception with the text `msg` if any element of `pred` is true.

    The check is part of the computation of `x`: go on with what is returned. It works eagerly,
    under `filter_jit` and `jax.jit`, and inside `vmap`, `grad`, `scan`, `while_loop`, `cond`,
    `shard_map`, on one device or many. Under `filter_jit` the predicate is carried out of the
    program as a result, and the caller raises; a plain `jax.jit` has nobody to read it, and the
    program itself calls back and fails.

    **Arguments:**

    - `x`: any PyTree with at least one array in it.
    - `pred`: a `bool`, or a boolean array of any shape.
    - `msg`: the text of the error.
    - `on_error`: `"raise"` an exception; `"breakpoint"`: open the debugger at the line of the
        check, with the values of the variables there, then raise; `"nan"`: no exception, but NaN in
        all floating-point arrays of `x`; `"off"`: no check. `"default"` is what `checks(...)` says,
        else the environment variable `EQX_ON_ERROR` when the check is traced, else `"raise"`.

    **Returns:** `x`. If it is not used, the check is performed nevertheless, and `filter_jit` warns
    with its line: `check` is meant for that.

    **Raises:**

    - `EquinoxRuntimeError` from the failing call, if it is eager or to a `filter_jit`-ed function.
        A function of plain `jax.jit` raises JAX's `JaxRuntimeError`, the base class, with the text
        in it; `isinstance` knows it, and `EquinoxRuntimeError.of` has its attributes.
    - `EquinoxTracetimeError`, a subclass, if the predicate is known while tracing.
    - `ValueError` if `x` contains no array.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks import EquinoxRuntimeError, error_if

    @filter_jit
    def root(x):
        x = error_if(x, x < 0, "root of a negative number")
        return jnp.sqrt(x)

    assert root(jnp.array(4.0)) == 2.0
    try:
        root(jnp.array(-4.0))
    except EquinoxRuntimeError as error:
        assert error.message == "root of a negative number"
    ```
    """
    return check_tree(x, pred, (str(msg),), on_error)


@public
def branched_error_if(
    x: T, pred: Pred, index: ArrayLike, msgs: Sequence[str], *, on_error: OnError = "default"
) -> T:
    """As `error_if`, where an integer computed by the program says which text the error has.

    **Arguments:**

    - `x`, `pred`, `on_error`: as for `error_if`.
    - `index`: an integer, or an array of them. Of several, the largest one counts, among those
        whose element of `pred` is true if the shapes are the same.
    - `msgs`: the texts.

    **Returns:** `x`.

    **Raises:** as `error_if`; `IndexError` if `index` is known while tracing, and no text has it,
    or if there are no texts. (One that is not known is clamped.)

    ```python
    import jax.numpy as jnp
    from runtime_checks import EquinoxRuntimeError, branched_error_if

    x = jnp.array(1.0)
    try:
        branched_error_if(x, x > 0, jnp.array(1), ["too small", "too large"])
    except EquinoxRuntimeError as error:
        assert error.message == "too large"
    ```
    """
    texts = tuple(map(str, msgs))
    if len(texts) == 0:
        raise IndexError("`msgs` is empty: there is no text for the error.")
    if not isinstance(index, (Tracer, jax.Array)):
        if not -len(texts) <= int(np.min(index)) <= int(np.max(index)) < len(texts):
            raise IndexError(f"`index` is {index}, and there are {len(texts)} texts in `msgs`.")
        index = np.where(np.less(index, 0), np.add(index, len(texts)), index).astype(np.int32)
    if len(texts) == 1:
        return check_tree(x, pred, texts, on_error)
    return check_tree(x, pred, texts, on_error, index)


@public
def check(pred: Pred, msg: str, /, *, on_error: OnError = "default", **values: object) -> None:
    """As `error_if`, but there is nothing to thread through: the check is never left out.

    Nothing waits for it: what follows in the program may be computed before the check has failed.

    **Arguments:**

    - `pred`, `msg`, `on_error`: as for `error_if`. With `on_error="nan"` there is nothing to make
        NaN: the check is off.
    - `**values`: arrays to show in the message by name: `check(x < 0, "negative", x=x)`. Of values
        of the shape of `pred`, the first failing element is shown.

    **Raises:** as `error_if`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks import EquinoxRuntimeError, check

    @filter_jit
    def root(x):
        check(x < 0, "root of a negative number", x=x)
        return jnp.sqrt(x)

    try:
        root(jnp.array([1.0, -4.0]))
    except EquinoxRuntimeError as error:
        assert error.index == ((1,),) and error.values["x"] == -4.0
    ```
    """
    mode = mode_of(on_error)
    if mode in ("off", "nan"):
        return
    predicate = predicate_of(pred)
    if isinstance(predicate, np.ndarray):
        if predicate.any():
            fail_now(predicate, (), (msg,), mode, values)
    else:
        bind(predicate, (), (msg,), mode, (), values)
