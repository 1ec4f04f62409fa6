"""Two observations beside each other; differences that are meant are listed in `known.toml`."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LIST = Path(__file__).parent / "known.toml"
PRECISION = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-23, "complex64": 2**-23}
PRECISION |= {"float64": 2**-52, "complex128": 2**-52}  # under JAX_ENABLE_X64
ROUNDING = 8  # in units of the precision: sums in another order differ in the last bits


@dataclass
class Known:
    """A difference that is meant: of which programs, in what, and what a user has to know of it."""

    programs: list[str]  # regular expressions, of the whole name of a program
    differs: list[str]  # of: outcome, printed, warnings; or of the parts of a layer
    area: str
    what: str
    equinox: str
    here: str
    why: str
    used: set[str] = field(default_factory=set[str])


def load() -> list[Known]:
    return [Known(**entry) for entry in tomllib.loads(LIST.read_text())["difference"]]


def reason(known: list[Known], name: str, part: str) -> Known | None:
    """The entry for a difference, which is then marked as used."""
    for entry in known:
        for pattern in entry.programs:
            if part in entry.differs and re.fullmatch(pattern, name):
                entry.used.add(pattern)
                return entry
    return None


def idle(known: list[Known]) -> list[str]:
    """The patterns by which nothing differs any more."""
    return [p for entry in known for p in entry.programs if p not in entry.used]


def is_array(x: Any) -> bool:
    return isinstance(x, tuple) and len(x) == 5 and x[1] in PRECISION


def same(ours: Any, theirs: Any) -> bool:
    """Equal; floats to the last bits; of errors, what catches theirs catches ours."""
    if type(ours) is not type(theirs):
        return False
    if is_array(ours) and is_array(theirs):
        eps = ROUNDING * PRECISION[ours[1]]
        numbers = (np.asarray(x[4]) for x in (ours, theirs))
        return ours[:4] == theirs[:4] and np.allclose(*numbers, eps, eps, equal_nan=True)
    if isinstance(ours, tuple) and ours[:1] == theirs[:1] == ("raised",):
        return theirs[1][0] in ours[1]
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)
