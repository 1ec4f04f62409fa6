"""Fixtures of the loops."""

from typing import Any

import pytest

from filtered_transforms._reverse_loops import checkpointed


@pytest.fixture(params=[1, 10**6], ids=["large step", "small step"])
def each_way_back(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpointed loops go back as if steps were large programs, then as if they were small."""
    monkeypatch.setattr(checkpointed, "LARGE", request.param)
