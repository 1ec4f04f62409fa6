"""The types of the public interface.

A class may be generic and yet be written without brackets, as `Stacked` for `Stacked[Any]`: to a
type checker the parameters have defaults. (In Python they have from 3.13 on.)
"""

from collections.abc import Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
)

from jax.typing import DTypeLike

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X")
Y = TypeVar("Y")
S = TypeVar("S")
"""A state: a `State`, or what else is handed from call to call."""
H = TypeVar("H")
H2 = TypeVar("H2")
L = TypeVar("L", bound=Callable[..., Any])

# A layer that is put into another is never replaced in it: so the type parameters are covariant.
if TYPE_CHECKING:
    import typing_extensions as te  # every type checker brings its types

    Layer_co = te.TypeVar("Layer_co", bound=Callable[..., Any], covariant=True, default=Any)
    Forward_co = te.TypeVar("Forward_co", bound=Callable[..., Any], covariant=True, default=Any)
    Backward_co = te.TypeVar("Backward_co", bound=Callable[..., Any], covariant=True, default=Any)
    Tree_co = te.TypeVar("Tree_co", covariant=True, default=Any)
    Result_co = te.TypeVar("Result_co", covariant=True, default=Any)
    Value = te.TypeVar("Value", default=Any)
    Layers = te.TypeVarTuple("Layers", default=te.Unpack[tuple[Any, ...]])
else:
    Layer_co = TypeVar("Layer_co", covariant=True)
    Forward_co = TypeVar("Forward_co", covariant=True)
    Backward_co = TypeVar("Backward_co", covariant=True)
    Tree_co = TypeVar("Tree_co", covariant=True)
    Result_co = TypeVar("Result_co", covariant=True)
    Value = TypeVar("Value")
    Layers = TypeVarTuple("Layers")

DType: TypeAlias = DTypeLike | None
"""A dtype of parameters; `None` for the default."""

PaddingWord: TypeAlias = Literal["SAME", "SAME_LOWER", "VALID", "same", "same_lower", "valid"]
PaddingMode: TypeAlias = Literal[
    "ZEROS", "REFLECT", "REPLICATE", "CIRCULAR", "zeros", "reflect", "replicate", "circular"
]
PerDimension: TypeAlias = int | Sequence[int]
"""A size: for all spatial dimensions, or one for each."""
Sides: TypeAlias = int | Sequence[int | tuple[int, int]]
"""What is padded: for all sides, or for each dimension on both sides, or before and after."""
Padding: TypeAlias = PaddingWord | Sides


class Cell(Protocol[H]):
    """What an `RNN` runs: a function of an input and a hidden state, to the next hidden state."""

    def __call__(self, x: Any, hidden: H, /, *args: Any, **kwargs: Any) -> H: ...
