"""The values of a state dictionary as arrays of NumPy, whichever library made them.

Here is decided what counts as a tensor of another library. Such a tensor is known by its methods,
so that no other library is imported.
"""

from typing import Any

import jax
import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import OWN, info_of, number_kind
from tree_surgery._streams.host_arrays import to_host


def to_value(name: str, x: Any) -> Any:
    """A new array of NumPy, for an array or a tensor of any library.

    Typed keys, numbers of Python, and leaves that write themselves stay as they are. Arrays are
    always copied: neither the dictionary nor the tree sees what happens to the other.
    """
    if is_key(x) or number_kind(x) is not None:
        return x
    info = info_of(x)
    if info is not None and info.dtype == OWN:
        return x
    try:
        if isinstance(x, jax.Array):
            return np.array(to_host(x), order="C")
        if hasattr(x, "detach") and hasattr(x, "cpu"):
            return _from_torch(x)
        if not isinstance(x, np.ndarray | np.generic) and hasattr(x, "__dlpack__"):
            return np.array(jax.dlpack.from_dlpack(x), order="C")
        array = np.array(x, order="C")
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"`{type(x).__name__}` cannot be made an array of NumPy: {error}"
        raise SerialiseError(message).at(name) from error
    # `np.array` makes an array of Python objects of whatever it does not know.
    if array.dtype.hasobject:
        raise SerialiseError(f"a `{type(x).__name__}` is not an array of numbers.").at(name)
    return array


def _from_torch(x: Any) -> np.ndarray[Any, Any]:
    """A tensor of PyTorch. NumPy lacks some dtypes, such as bfloat16: DLPack brings those."""
    x = x.detach().cpu()
    # PyTorch conjugates and negates lazily, by a flag that NumPy does not see.
    for method in ("resolve_conj", "resolve_neg"):
        x = getattr(x, method)() if hasattr(x, method) else x
    try:
        return np.array(x.numpy(), order="C")
    except TypeError:
        return np.array(jax.dlpack.from_dlpack(x.contiguous()), order="C")
