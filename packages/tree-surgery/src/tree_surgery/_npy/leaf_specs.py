"""How one leaf is saved and loaded in order: the default filter specs, and `SerialisableLeaf`.

Here is decided which record each kind of leaf becomes and which records a leaf of `like` accepts.
What the bytes of a record are is decided in `npy_records.py`.
"""

from collections.abc import Callable
from typing import IO, Any, BinaryIO, Protocol, Self, TypeVar, cast, overload, runtime_checkable

import jax
import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import is_jax, number_kind
from tree_surgery._nodes.prng_keys import implementation_of, to_keys, words_of
from tree_surgery._public import public
from tree_surgery._streams.byte_streams import read_exactly
from tree_surgery._streams.host_arrays import check_width, to_device, to_host

from .npy_records import read_record_data, read_record_header, write_record

_KEY = "prng_key:"  # and the implementation: the name of the one field of a record of keys

_Leaf = TypeVar("_Leaf")


@public
@runtime_checkable
class SerialisableLeaf(Protocol):
    """A leaf that saves and loads itself, for a class that `tree_serialise_leaves` does not know.

    Whatever `__serialise_leaf__` writes, `__deserialise_leaf__` must read, to the byte, and return
    a leaf of the same type: it is called on the leaf of `like`. Arrays and numbers are best written
    by [`tree_surgery.default_serialise_filter_spec`][] and read by
    [`tree_surgery.default_deserialise_filter_spec`][].

    ```python
    import io
    import tree_surgery as ts

    class Counter:
        def __init__(self, count):
            self.count = count

        def __serialise_leaf__(self, f):
            ts.default_serialise_filter_spec(f, self.count)

        def __deserialise_leaf__(self, f):
            return Counter(ts.default_deserialise_filter_spec(f, self.count))

    file = io.BytesIO()
    ts.tree_serialise_leaves(file, [Counter(3)])
    file.seek(0)
    assert ts.tree_deserialise_leaves(file, [Counter(0)])[0].count == 3
    ```
    """

    def __serialise_leaf__(self, f: BinaryIO, /) -> None: ...

    def __deserialise_leaf__(self, f: BinaryIO, /) -> Self: ...


@public
def default_serialise_filter_spec(f: IO[bytes], x: object) -> None:
    """Arrays and numbers are written as one NumPy record each; other leaves are not written.

    Arrays are those of JAX (typed PRNG keys, with the name of their implementation, among them) and
    of NumPy, and NumPy's scalars; numbers are Python's `bool`, `int` of any size, `float` and
    `complex`. A [`tree_surgery.SerialisableLeaf`][] writes itself.

    **Arguments:**

    - `f`: a binary file object.
    - `x`: a leaf.

    **Raises:**

    `SerialiseError` for what looks like an array but cannot be saved: tracers, shapes without data,
    arrays of Python objects, and arrays of which this process holds only a part.
    """
    if isinstance(x, jax.Array):
        write_record(f, _record_of_jax(x))
    elif isinstance(x, np.ndarray | np.generic | bool | float | complex):
        write_record(f, np.asarray(x))
    elif isinstance(x, int):
        write_record(f, _record_of_int(int(x)))
    elif isinstance(x, jax.ShapeDtypeStruct):
        raise SerialiseError(f"{x} has no values to save.")
    elif hasattr(type(x), "__serialise_leaf__"):
        cast(Any, x).__serialise_leaf__(f)


@overload
def default_deserialise_filter_spec(f: IO[bytes], x: jax.ShapeDtypeStruct) -> jax.Array: ...
@overload
def default_deserialise_filter_spec(f: IO[bytes], x: _Leaf) -> _Leaf: ...
@public
def default_deserialise_filter_spec(f: IO[bytes], x: Any) -> Any:
    """What [`tree_surgery.default_serialise_filter_spec`][] wrote is read, if it is like `x`.

    **Arguments:**

    - `f`: a binary file object.
    - `x`: a leaf that says what to expect. A `jax.ShapeDtypeStruct` expects a JAX array, and puts
        it where its sharding says, if it has one.

    **Returns:**

    For an array, the array, of the kind, shape and dtype of `x`; for a number, a number of the
    type of `x`; for any other leaf, `x` itself, with nothing read.

    **Raises:**

    `SerialiseError` if the record has another shape or dtype, or is not there or damaged.
    An integer may be read for a `float`, and either for a `complex`, if no digit is lost.
    """
    if is_jax(x):
        return _read_jax(f, x)
    if isinstance(x, np.ndarray | np.generic):
        array = _read_array(f, x.shape, x.dtype)
        return array if isinstance(x, np.ndarray) else array[()]
    if isinstance(x, bool | int | float | complex):
        return _read_number(f, x)
    if hasattr(type(x), "__deserialise_leaf__"):
        return x.__deserialise_leaf__(f)
    return x


def _record_of_jax(x: jax.Array) -> np.ndarray[Any, Any]:
    """The values of an array. Of typed keys, a structure whose one field names their PRNG."""
    data = to_host(x)
    if not is_key(x):
        return data
    name = f"{_KEY}{implementation_of(x)}"
    record = np.empty(x.shape, [(name, data.dtype.str, data.shape[x.ndim :])])
    record[name] = data
    return record


def _record_of_int(x: int) -> np.ndarray[Any, Any]:
    """An integer of 64 bits. Of a larger one, which NumPy has no dtype for, hexadecimal digits."""
    if -(2**63) <= x < 2**64:
        return np.asarray(x, np.uint64 if x >= 2**63 else np.int64)
    return np.asarray(hex(x))


def _read_jax(f: IO[bytes], x: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
    if is_key(x):
        return _read_keys(f, x)
    check_width(x.dtype)
    return to_device(_read_array(f, x.shape, x.dtype), x)


def _read_keys(f: IO[bytes], x: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
    dtype, shape, fortran = read_record_header(f)
    name = dtype.names[0] if dtype.names else ""
    if shape != x.shape or not name.startswith(_KEY):
        raise _mismatch(x.shape, x.dtype, shape, dtype)
    implementation = name.removeprefix(_KEY)
    key_dtype, word_dtype, words = words_of(implementation)
    if key_dtype != x.dtype or dtype != np.dtype([(name, word_dtype.str, words)]):
        raise _mismatch(x.shape, x.dtype, shape, key_dtype)
    return to_keys(read_record_data(f, dtype, shape, fortran)[name], implementation, x)


def _read_array(f: IO[bytes], shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    found, found_shape, fortran = read_record_header(f)
    dtype = np.dtype(dtype)
    # NumPy does not define bfloat16, float8 and int4 itself (`isbuiltin == 2`). Its format keeps of
    # them only the number of bytes, so such a record fits any of these dtypes of one width.
    raw = dtype.isbuiltin == 2 and found.kind == "V" and found.names is None
    same = raw and found.itemsize == dtype.itemsize
    if found_shape != shape or not (same or found == dtype):
        raise _mismatch(shape, dtype, found_shape, found)
    array = read_record_data(f, found, found_shape, fortran)
    return array.view(dtype) if same else array


def _read_number(f: IO[bytes], x: Any) -> Any:
    dtype, shape, _ = read_record_header(f)
    kinds: dict[Callable[[Any], Any], str] = {bool: "b", int: "iuU", float: "fiu", complex: "cfiu"}
    kind = number_kind(x)
    if shape != () or dtype.kind not in kinds[kind]:
        raise _mismatch((), f"Python {kind.__name__}", shape, dtype)
    scalar = np.frombuffer(read_exactly(f, dtype.itemsize, "a number"), dtype)
    try:
        found = scalar.item()
        found = int(found, 0) if isinstance(found, str) else found
    except (ValueError, SystemError) as error:  # the latter for a character beyond Unicode
        raise SerialiseError(f"its record is damaged: {error}.") from error
    value = kind(found)
    if value != found and found == found:
        raise SerialiseError(f"the file holds {found}, which is no `{kind.__name__}`.")
    return value if type(x) is kind else type(x)(value)


def _mismatch(shape: Any, dtype: Any, found_shape: Any, found_dtype: Any) -> SerialiseError:
    expected = f"shape {tuple(shape)} and dtype {dtype}"
    found = f"shape {tuple(found_shape)} and dtype {found_dtype}"
    return SerialiseError(
        f"`like` has {expected}, but the file holds {found}. Make `like` as the saved tree was, "
        "for example by building the model with the same hyper-parameters.",
        expected=expected,
        found=found,
    )
