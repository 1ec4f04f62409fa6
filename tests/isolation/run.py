"""Each distribution alone: its wheel in an environment of its own, tested away from the sources.

    python run.py [DISTRIBUTION ...]

For each: build the wheel from a copy of the sources (by way of the sdist, so both are whole);
install it and what it declares into a fresh environment; see that nothing else of ours came
along; run a copy of its tests against what was installed. Once for all: pip finds the siblings of
each in a checkout.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = tomllib.loads((Path(__file__).parent / "requirements.toml").read_text())
# Nothing that this process was told about sources or warnings reaches the environments under test.
ENVIRON = {
    k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
}
ENVIRON |= {"PYTHONSAFEPATH": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


class Failure(Exception):
    """A distribution does not stand alone; the message says how."""


@dataclass(frozen=True)
class Distribution:
    name: str
    folder: Path
    requires: tuple[str, ...]  # names of siblings, direct

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def tests(self) -> Path:
        for name in (self.module, self.folder.name):
            if (tests := ROOT / "tests" / name).is_dir():
                return tests
        raise Failure(f"{self.name} has no tests: there is no tests/{self.module}/")


def distributions() -> dict[str, Distribution]:
    projects = {
        file.parent: tomllib.loads(file.read_text())["project"]
        for file in sorted(ROOT.glob("packages/*/pyproject.toml"))
    }
    ours = {project["name"] for project in projects.values()}
    return {
        project["name"]: Distribution(
            project["name"],
            folder,
            tuple(n for r in project["dependencies"] if (n := re.match(r"[\w-]+", r)[0]) in ours),
        )
        for folder, project in projects.items()
    }


def closure(name: str, known: dict[str, Distribution]) -> set[str]:
    return {name}.union(*(closure(sibling, known) for sibling in known[name].requires))


def call(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}")
    return done.stdout


def copy_of_sources(work: Path) -> Path:
    """A checkout of what builds are made from, committed, so that pip can clone it."""
    sources = work / "sources"
    ignore = shutil.ignore_patterns("__pycache__", "dist", "build", "*.egg-info")
    shutil.copytree(ROOT / "packages", sources / "packages", ignore=ignore)
    shutil.copy(ROOT / "hatch_build.py", sources)
    call("git", "init", "--quiet", cwd=sources)
    call("git", "add", ".", cwd=sources)
    who = ("-c", "user.name=isolation", "-c", "user.email=isolation@localhost")
    call("git", *who, "commit", "--quiet", "--message", "sources", cwd=sources)
    return sources


def build(distribution: Distribution, sources: Path, wheels: Path) -> None:
    """The wheel as an index has it: its siblings are required by version."""
    folder = sources / "packages" / distribution.folder.name
    call(sys.executable, "-m", "build", "--no-isolation", "-o", wheels, folder, cwd=sources)
    (wheel,) = wheels.glob(f"{distribution.module}-*.whl")
    for sibling, requirement in required_siblings(distribution, wheel).items():
        if not requirement.startswith(f"{sibling}=="):
            raise Failure(f"the wheel of {distribution.name} requires {requirement}")


def find_siblings(known: dict[str, Distribution], sources: Path) -> None:
    """Raise `Failure` unless pip finds siblings in a checkout: each folder, and a clone of it."""
    folders = {name: sources / "packages" / one.folder.name for name, one in known.items()}
    clones = {
        # `localhost`: pip of before 2024 takes no URL of a requirement that names no host.
        name: f"{name} @ git+file://localhost{sources.as_posix()}#subdirectory=packages/{f.name}"
        for name, f in folders.items()
    }
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    for given in (folders, clones):
        with tempfile.TemporaryDirectory() as out:
            call(*pip, "--wheel-dir", out, *given.values(), cwd=sources)
            for name, distribution in known.items():
                (wheel,) = Path(out).glob(f"{distribution.module}-*.whl")
                for sibling, requirement in required_siblings(distribution, wheel).items():
                    if not re.fullmatch(rf"{sibling} @ file://.*/packages/{sibling}", requirement):
                        raise Failure(f"pip, given {given[name]}, looks for {requirement}")


def required_siblings(distribution: Distribution, wheel: Path) -> dict[str, str]:
    """By the name of each sibling, how a wheel requires it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    required = (x.removeprefix("Requires-Dist: ") for x in lines if x.startswith("Requires-Dist:"))
    found = {re.match(r"[\w-]+", r)[0]: r for r in required}
    return {sibling: found[sibling] for sibling in distribution.requires}


def installed(python: Path, work: Path, ours: set[str]) -> set[str]:
    listing = call(python, "-m", "pip", "list", "--format=freeze", cwd=work)
    return {line.partition("==")[0].lower().replace("_", "-") for line in listing.split()} & ours


def check(name: str, known: dict[str, Distribution], work: Path, wheels: Path) -> str:
    """Raise `Failure` unless the distribution stands alone; return its tests' closing line."""
    distribution, extra = known[name], REQUIREMENTS.get(name, {})
    home = work / name
    home.mkdir()
    call(sys.executable, "-m", "venv", "env", cwd=home)
    python = home / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    # Compiled on first import: compiling all of JAX beforehand takes longer than the tests.
    pip = (python, "-m", "pip", "install", "--quiet", "--no-compile", "--find-links", wheels)

    (version,) = {re.search(r"-(\d[^-]*)-py3", w.name)[1] for w in wheels.glob("*.whl")}
    call(*pip, f"{name}=={version}", cwd=home)
    expected = closure(name, known)
    if (found := installed(python, home, set(known))) != expected:
        raise Failure(f"installing {name} brought {sorted(found)}, declared are {sorted(expected)}")
    modules = [known[n].module for n in sorted(expected)]
    located = call(
        python,
        "-c",
        f"import {', '.join(modules)}\nfor m in ({', '.join(modules)},): print(m.__file__)",
        cwd=home,
    )
    for line in located.split():
        if not Path(line).is_relative_to(home / "env") or "site-packages" not in line:
            raise Failure(f"{line} is not the installed wheel")
        if not Path(line).with_name("py.typed").exists():
            raise Failure(f"{line}: its wheel holds no py.typed")

    with_extras = f"{name}[{','.join(extra['extras'])}]=={version}" if "extras" in extra else ""
    call(
        *pip,
        *filter(None, [with_extras, *REQUIREMENTS["every"], *extra.get("requires", [])]),
        cwd=home,
    )
    if (found := installed(python, home, set(known))) != expected:
        raise Failure(f"what the tests of {name} need brought {sorted(found - expected)}")
    call(python, "-m", "pip", "check", cwd=home)

    shutil.copy(ROOT / "pyproject.toml", home)
    (home / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", home / "tests")
    ignore = shutil.ignore_patterns("__pycache__", ".hypothesis")
    shutil.copytree(distribution.tests, home / "tests" / distribution.tests.name, ignore=ignore)
    workers = ("-n", "2", "--dist", "worksteal", "--cases", "2", "-m", "not devices and not heavy")
    output = call(
        python, "-m", "pytest", "-q", *workers, f"tests/{distribution.tests.name}", cwd=home
    )
    return output.strip().splitlines()[-1]


def main() -> int:
    known = distributions()
    parser = argparse.ArgumentParser(description="Test each distribution alone, from its wheel.")
    parser.add_argument("names", nargs="*", metavar="DISTRIBUTION", help="default: all of them")
    names = parser.parse_args().names or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"no such distribution: {sorted(unknown)}; there are {sorted(known)}")

    failed = []
    with tempfile.TemporaryDirectory(prefix="isolation-") as folder:
        work = Path(folder).resolve()
        wheels = work / "wheels"
        sources = copy_of_sources(work)
        for name in sorted(set().union(*(closure(n, known) for n in names))):
            build(known[name], sources, wheels)
        find_siblings(known, sources)
        for name in names:
            start = time.monotonic()
            try:
                verdict = check(name, known, work, wheels)
            except Failure as failure:
                failed.append(name)
                verdict = f"FAILED\n{failure}"
            print(f"{name} alone, {time.monotonic() - start:.0f} s: {verdict}", flush=True)
            shutil.rmtree(work / name, ignore_errors=True)
    print(f"isolation: {len(names) - len(failed)} of {len(names)} stand alone", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
