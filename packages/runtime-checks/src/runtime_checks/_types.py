"""The types of the public interface."""

from typing import ParamSpec, TypeAlias, TypeVar

import jax
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Pred: TypeAlias = bool | np.bool_ | np.ndarray[tuple[int, ...], np.dtype[np.generic]] | jax.Array
"""A condition, or an array of them."""
