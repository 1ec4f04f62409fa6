"""What a failed check raises."""

import dis
import re
import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jax.errors import JaxRuntimeError

from runtime_checks._user_frames import Place
from tree_surgery.extend import public

_NEXT = (
    "To look at the values there, run with EQX_ON_ERROR=breakpoint. To go on without the check, "
    'use `with checks("off"):`, or `checks("nan")` for NaN instead of an exception.'
)


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value), threshold=20)


class _FailedCheck(type):
    # `except` goes by real classes only; `isinstance`, and with it `pytest.raises`, asks here.

    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        ours: Any = EquinoxRuntimeError
        return cls is ours and FAILURES.find(instance) is not None


if TYPE_CHECKING:
    _Base = RuntimeError  # JAX has no types for its own
else:
    _Base = JaxRuntimeError


@public
class EquinoxRuntimeError(_Base, metaclass=_FailedCheck):
    """A run-time check failed: the message says which, and `check_location` where it stands.

    A program of plain `jax.jit` can only raise JAX's `JaxRuntimeError`, of which this is a
    subclass: `except JaxRuntimeError` catches a failed check wherever it fails. Such an exception
    of JAX's, if a check raised it, is an *instance* of this class (`isinstance`, `pytest.raises`),
    and `EquinoxRuntimeError.of(error)` has the attributes.

    **Attributes:**

    - `message`: the text given to the check.
    - `check_location`: `"file:line in function"` of the check, as far as known.
    - `index`: for a predicate that is an array, mapped or not, the indices of its first failing
        elements, else `()`.
    - `values`: the values that the check was asked to show, by name; those of the first failing
        element, if the check is mapped.
    """

    message: str
    check_location: str
    index: tuple[tuple[int, ...], ...]
    values: Mapping[str, Any]

    def __init__(
        self,
        message: str,
        places: tuple[Place, ...] = (),
        index: tuple[tuple[int, ...], ...] = (),
        values: Mapping[str, Any] | None = None,
        note: str = "",
    ):
        self.message = message
        self.check_location = str(places[0]) if places else ""
        self.index = index
        self.values = {} if values is None else values
        self._rest = (places, index, self.values, note)
        shown = "".join(f"\n{name} = {_text(value)}" for name, value in self.values.items())
        where = ""
        if places:
            lines = "\n".join(place.listing() for place in reversed(places))
            where = f"\nThe check stands here (innermost last):\n{lines}\n{_NEXT}"
        super().__init__(message + note + shown + where)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, *self._rest)

    @staticmethod
    def of(error: BaseException) -> "EquinoxRuntimeError | None":
        """The failed check behind an exception, if that is what it is.

        **Arguments:**

        - `error`: any exception, such as the `JaxRuntimeError` of a program of plain `jax.jit`.

        **Returns:** the exception itself if it is of this class; for one of JAX's, that which it
        stands for; `None` if no check failed, or more than a hundred have failed since.

        ```python
        import jax
        import jax.numpy as jnp
        from runtime_checks import EquinoxRuntimeError, error_if

        root = jax.jit(lambda x: jnp.sqrt(error_if(x, x < 0, "root of a negative number")))
        try:
            root(jnp.array(-4.0)).block_until_ready()
        except jax.errors.JaxRuntimeError as error:
            assert EquinoxRuntimeError.of(error).message == "root of a negative number"
        ```
        """
        if type.__instancecheck__(EquinoxRuntimeError, error):
            return error  # pyright: ignore[reportReturnType]  (checked by its real class)
        return FAILURES.find(error)


@public
class EquinoxTracetimeError(EquinoxRuntimeError):
    """A check failed before the program ran, since its predicate was known when it was traced."""


_MARK = re.compile(r"\[failed check ([0-9a-f]{32})\]")
_STATEMENTS = {dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"]}


def _is_of_program(error: Any) -> bool:
    """Whether a program of JAX raised this, rather than a line of Python that has its text.

    That is a `JaxRuntimeError`; and a `ValueError` where JAX's quick way, which is compiled, calls
    the program: the innermost line of its traceback made a call, and raised nothing itself.
    """
    if type(error) is not ValueError:
        return type(error) is JaxRuntimeError
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    return innermost.tb_frame.f_code.co_code[innermost.tb_lasti] not in _STATEMENTS


class Failures:
    """What failed in programs of late.

    Of an exception of a program JAX hands on the text alone. So that carries a random mark, by
    which the failure is found: nobody else can have it but by a copy. The oldest are forgotten:
    somebody caught them and went on.
    """

    limit: ClassVar[int] = 128

    def __init__(self) -> None:
        self._errors: dict[str, EquinoxRuntimeError] = {}
        self._lock = threading.Lock()

    def marked(self, error: EquinoxRuntimeError) -> EquinoxRuntimeError:
        """An exception for a callback to raise, from whose text `error` can be found again."""
        mark = secrets.token_hex(16)
        with self._lock:
            self._errors[mark] = error
            if len(self._errors) > self.limit:
                del self._errors[next(iter(self._errors))]
        return EquinoxRuntimeError(f"{error}\n[failed check {mark}]")

    def find(self, error: Any) -> EquinoxRuntimeError | None:
        """The failure for which a program raised `error`, if that is what it is."""
        if not _is_of_program(error):
            return None
        marks = _MARK.findall(str(error))  # the text before its own may be that of another failure
        return self._errors.get(marks[-1]) if marks else None


FAILURES = Failures()
