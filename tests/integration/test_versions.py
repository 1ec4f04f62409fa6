"""Versions move in lockstep, and what several files say, they say alike."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


PROJECTS = {
    project["name"]: (file.parent, project)
    for file in sorted(ROOT.glob("packages/*/pyproject.toml"))
    for project in [tomllib.loads(file.read_text())["project"]]
}
HATCH = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]


def test_all_six_are_here():
    assert set(PROJECTS) == {
        "tree-surgery",
        "pytree-module",
        "filtered-transforms",
        "runtime-checks",
        "nn-layers",
        "equinoctial",
    }


def test_one_version_and_siblings_pinned_to_it():
    (version,) = {project["version"] for _, project in PROJECTS.values()}
    for name, (_, project) in PROJECTS.items():
        for requirement in project["dependencies"]:
            sibling = re.match(r"[\w-]+", requirement).group()
            if sibling in PROJECTS:
                assert requirement == f"{sibling}=={version}", name
    for file in ROOT.glob("packages/*/src/**/*.py"):
        assert set(re.findall(r'^__version__ = "(.*)"', file.read_text(), re.M)) <= {version}, file
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_shared_metadata_agrees():
    for key in ("requires-python", "license", "authors", "classifiers"):
        assert len({str(project[key]) for _, project in PROJECTS.values()}) == 1, key
    licence = (ROOT / "LICENSE").read_text()
    for folder, _ in PROJECTS.values():
        assert (folder / "LICENSE").read_text() == licence, folder


def test_what_has_siblings_is_built_by_the_one_hook():
    # That pip finds the siblings by it, and that source distributions are whole: tests/isolation.
    hooks = [file.relative_to(ROOT).as_posix() for file in ROOT.rglob("hatch_build.py")]
    assert hooks == ["hatch_build.py"]
    for folder, project in PROJECTS.values():
        hatch = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["hatch"]
        if any(r.partition("==")[0] in PROJECTS for r in project["dependencies"]):
            for hook in (hatch["metadata"], hatch["build"]["targets"]["sdist"]):
                assert hook["hooks"]["custom"]["path"] == "../../hatch_build.py", folder


def test_the_floor_environment_installs_the_declared_lower_bounds():
    floor = dict(requirement.split("==") for requirement in HATCH["floor"]["extra-dependencies"])
    declared = {}
    for _, project in PROJECTS.values():
        bounded = (r.split(">=") for r in project["dependencies"] if ">=" in r)
        for name, bound in bounded:
            assert declared.setdefault(name, bound) == bound, f"two lower bounds for {name}"
    # The extras that are tested at their lower bound, too.
    extras = dict(
        r.split(">=")
        for _, project in PROJECTS.values()
        for requirements in project.get("optional-dependencies", {}).values()
        for r in requirements
    )
    assert floor == declared | {name: extras[name] for name in floor.keys() - declared.keys()}
    assert HATCH["floor"]["python"] == "3.11"
    assert all(p["requires-python"] == ">=3.11" for _, p in PROJECTS.values())
