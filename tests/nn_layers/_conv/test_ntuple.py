"""`ntuple`: one value, or one for each dimension."""

import pytest

from nn_layers.extend import (
    ntuple,
)


@pytest.mark.parametrize(
    ("n", "value", "expected"),
    [
        (2, 3, (3, 3)),
        (1, 3, (3,)),
        (2, [1, 2], (1, 2)),
        (2, range(2), (0, 1)),
        (2, ((1, 2), (3, 4)), ((1, 2), (3, 4))),
        (2, None, (None, None)),
    ],
)
def test_one_value_or_one_for_each_dimension(n, value, expected):
    assert ntuple(n)(value) == expected


@pytest.mark.parametrize("value", [(1, 2, 3), (1,), ()])
def test_another_number_of_values(value):
    with pytest.raises(ValueError, match=f"Expected one value or 2 of them, got {len(value)}"):
        ntuple(2)(value)
