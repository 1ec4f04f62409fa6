"""Lets `pip install ./packages/NAME` find the siblings of NAME in the same checkout.

A distribution requires its siblings by version, as an index has them. When pip builds one from a
checkout in order to install it, they are required from where they lie: beside it. All else keeps
the versions: editable installations, the wheels and source distributions that `hatch build` and
`python -m build` make. The requirements stand in pyproject.toml, by version, where tools read them
without building.

All distributions share this file, by the path `../../hatch_build.py` in their pyproject.toml. A
source distribution has no folder above it. It holds a copy, and a pyproject.toml that names that.
"""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

SHARED, COPY = '"../../hatch_build.py"', '"hatch_build.py"'


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


class WholeSourceDistribution(BuildHookInterface):
    """Puts this file into the source distribution, and its new path into pyproject.toml there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        project = Path(self.root, "pyproject.toml")
        rewritten = Path(self._folder.name, "pyproject.toml")
        rewritten.write_text(project.read_text("utf-8").replace(SHARED, COPY), "utf-8")
        included = build_data["force_include"]
        del included[str(project)]
        included |= {str(rewritten): "pyproject.toml", __file__: "hatch_build.py"}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()
