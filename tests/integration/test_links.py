"""What a page names in the repository is there: the targets of links, and paths in backticks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TOP = "|".join(p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith("."))
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([\w./:-]*\w[\w./-]*)(?:#[^)]*)?\)")
# Such as `tests/conftest.py`. With `<name>`, `*` or `NAME` it stands for many.
QUOTED = re.compile(rf"`((?:{TOP})/[\w./-]*)`")
OF_OTHERS = {"tests/unit", "tests/usage"}  # folders of quax, whose tests `ecosystem.md` speaks of


def links(page: Path) -> Iterator[tuple[str, str]]:
    """The text and the target of each link into the repository."""
    for text, target in LINK.findall(CODE.sub("", page.read_text())):
        if not re.match(r"\w+:", target):
            yield text, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path):
    quoted = set(QUOTED.findall(CODE.sub("", page.read_text()))) - OF_OTHERS
    missing = [target for _, target in links(page) if not (page.parent / target).exists()]
    missing += [path for path in quoted if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_private_files_that_a_page_names_are_there(page: Path):
    """Such as `_jax.py`, without a folder."""
    there = {file.name for file in ROOT.glob("packages/*/src/**/*.py")}
    named = re.findall(r"`(_\w+\.py)`", CODE.sub("", page.read_text()))
    assert not set(named) - there - {"_x.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_that_reads_as_a_path_leads_there(page: Path):
    wrong = []
    for text, target in links(page):
        named = re.fullmatch(r"`([\w./-]+(?:\.\w+|/[\w-]+))`", text)
        if named and not (page.parent / target).resolve().as_posix().endswith(named[1]):
            wrong.append((text, target))
    assert not wrong


def test_the_page_of_decisions_names_a_test_for_each():
    page = (ROOT / "docs/architecture.md").read_text()
    table = page.split("## The distributions")[0]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert len(rows) >= 25
    for row in rows:
        question, _, guard = (cell.strip() for cell in row.strip("|").split(" | "))
        assert question.endswith("?"), row
        assert re.search(r"\]\(\.\./(tests|parity)", guard), row


def test_each_folder_says_where_its_tests_are():
    for front in ROOT.glob("packages/*/src/*/_*/__init__.py"):
        named = re.findall(r"`(tests/[\w./]+)`", front.read_text())
        assert named, front
        assert all((ROOT / path).exists() for path in named), front
