"""Lets `pip install ./packages/NAME` find the siblings of NAME in the same checkout.

A distribution requires its siblings by version, as an index has them. When pip builds one from a
checkout in order to install it, they are required from where they lie: beside it. All else keeps
the versions: editable installations, the wheels and source distributions that `hatch build` and
`python -m build` make. Every distribution has the same copy; a test compares them.

The requirements stand in pyproject.toml, by version, where tools read them without building.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class SiblingsOfTheCheckout(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        # How a build process knows that it works for pip, and (by its argument, the name of a hook
        # of PEP 517 or PEP 660) what for.
        editable = any(argument.endswith("_editable") for argument in sys.argv)
        if "PIP_BUILD_TRACKER" in os.environ and not editable:
            metadata["dependencies"] = [self._beside(r) for r in metadata["dependencies"]]

    def _beside(self, requirement: str) -> str:
        name = re.split(r"[^\w-]", requirement, maxsplit=1)[0]
        folder = Path(self.root).parent / name
        if (folder / "pyproject.toml").is_file():
            return f"{name} @ {folder.as_uri()}"
        return requirement
