"""Draws `docs/architecture.md`: which folder imports which, read from the source.

python docs/imports.py                   writes the page
python docs/imports.py --check           says whether it is up to date
python docs/imports.py --figures [ROOT]  counts files, imports and floors, of any checkout

Text of the page outside `<!-- drawn: NAME -->` and `<!-- end -->` is written by hand, and stays.
"""

import argparse
import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
FRONT = ("__init__", "extend")
RULES = tomllib.loads((ROOT / "docs" / "architecture.toml").read_text())
ORDER: list[str] = RULES["distributions"]["order"]
MAY_USE = {
    name: set(ORDER[:i]) - {*RULES["distributions"]["without"].get(name, ())}
    for i, name in enumerate(ORDER)
}

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Source:
    """One file of a package, as it is imported."""

    name: str
    file: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.file.read_text())

    @property
    def package(self) -> list[str]:
        parts = self.name.split(".")
        return parts if self.file.name == "__init__.py" else parts[:-1]

    @property
    def folder(self) -> str:
        """The folder that it stands in, or its own name if it stands in the root."""
        return [*self.name.split("."), "__init__"][1]

    def imports(self) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
        """(node, dotted name) of every import, at any depth; `from a import b` is a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = self.package[: len(self.package) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield from ((node, f"{base}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("import_module", "__import__")
            ):
                for argument in node.args[:1]:
                    if isinstance(argument, ast.Constant):
                        yield node, argument.value


def sources(root: Path = ROOT) -> dict[str, Source]:
    """Every file of every package, by its dotted name."""
    found = {}
    for package in sorted(root.glob("packages/*/src/*/__init__.py")):
        for file in sorted(package.parent.rglob("*.py")):
            parts = file.relative_to(package.parents[1]).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            found[name] = Source(name, file)
    return found


def file_graph(own: str, every: Mapping[str, Source]) -> dict[str, set[str]]:
    """Which file of a distribution imports which of its files; the front is left out."""
    inside = {n: s for n, s in every.items() if n.split(".")[0] == own and s.folder not in FRONT}
    graph = {}
    for name, source in inside.items():
        targets = {t if t in inside else t.rpartition(".")[0] for _, t in source.imports()}
        graph[name] = targets & inside.keys() - {name}
    return graph


def folder_graph(own: str, every: Mapping[str, Source]) -> dict[str, set[str]]:
    """The same of folders."""
    graph: dict[str, set[str]] = {}
    for name, targets in file_graph(own, every).items():
        folder = every[name].folder
        graph.setdefault(folder, set()).update(every[t].folder for t in targets)
        graph[folder].discard(folder)
    return graph


def floors(graph: Graph) -> dict[str, int]:
    """For each node the longest chain of imports that ends at it; raises `CycleError`."""
    height: dict[str, int] = {}
    for node in graphlib.TopologicalSorter(graph).static_order():
        height[node] = 1 + max((height[below] for below in graph[node]), default=0)
    return height


def reduced(graph: Graph) -> dict[str, set[str]]:
    """Without the edges that a chain of others already implies."""
    reach: dict[str, set[str]] = {}
    for node in graphlib.TopologicalSorter(graph).static_order():
        reach[node] = graph[node].union(*(reach[below] for below in graph[node]))
    return {
        node: {b for b in below if not any(b in reach[other] for other in below - {b})}
        for node, below in graph.items()
    }


# -------------------------------------------------------------------------------- what is drawn


def figures(own: str, every: Mapping[str, Source]) -> list[int]:
    """Files, imports between them, floors of files; the same of folders."""
    counts = []
    for graph in (file_graph(own, every), folder_graph(own, every)):
        counts += [len(graph), sum(map(len, graph.values())), max(floors(graph).values())]
    return counts


def mermaid(graph: Graph, direction: str = "BT") -> str:
    """A drawing in which an arrow goes from what imports to what is imported."""
    lines = ["```mermaid", f"graph {direction}"]
    lines += [f"  {node}" for node in graph]
    lines += [f"  {node} --> {b}" for node, below in graph.items() for b in sorted(below)]
    return "\n".join([*lines, "```"])


def draw_distributions(every: Mapping[str, Source]) -> str:
    graph: dict[str, set[str]] = {name: set() for name in ORDER}
    for name, source in every.items():
        own = name.split(".")[0]
        graph[own] |= {t.split(".")[0] for _, t in source.imports()} & graph.keys() - {own}
    return mermaid(reduced(graph))


def draw_figures(every: Mapping[str, Source]) -> str:
    lines = [
        "| distribution | files | imports between files | floors of files "
        "| folders | imports between folders | floors of folders |",
        "|---|---|---|---|---|---|---|",
    ]
    for own in ORDER:
        now = figures(own, every)
        before = RULES["before"][own]
        cells = [f"{b} → {n}" for b, n in zip(before, now[:3], strict=True)]
        lines.append(f"| `{own}` | {' | '.join([*cells, *map(str, now[3:])])} |")
    return "\n".join(lines)


def first_sentence(source: Source) -> str:
    text = " ".join((ast.get_docstring(source.tree) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", text)[0]


def link(path: Path, shown: str) -> str:
    return f"[`{shown}`](../{path.relative_to(ROOT).as_posix()})"


def draw_folders(own: str, every: Mapping[str, Source]) -> str:
    graph = folder_graph(own, every)
    leaves = set(RULES[own]["leaves"])
    order = {name: i for i, name in enumerate([*RULES[own]["leaves"], *RULES[own]["folders"]])}
    inner = {n: graph[n] - leaves for n in sorted(graph.keys() - leaves, key=order.__getitem__)}
    height = floors(graph)
    lines = [mermaid(reduced(inner)), ""]
    if leaves:
        shown = ", ".join(f"`{name}`" for name in RULES[own]["leaves"])
        lines += [f"Not drawn, since every folder may use them: {shown}.", ""]
    lines += ["| floor | folder | what is decided there | tests |", "|---|---|---|---|"]
    for name in sorted(graph, key=lambda name: (height[name], order[name])):
        source = every[f"{own}.{name}"]
        is_folder = source.file.name == "__init__.py"
        where = source.file.parent if is_folder else source.file
        tests = ROOT / "tests" / ("meta" if own == "equinoctial" else own)
        tests = tests / name if is_folder else tests
        shown = link(tests, tests.relative_to(ROOT).as_posix()) if tests.is_dir() else ""
        lines.append(
            f"| {height[name]} | {link(where, where.name)} | {first_sentence(source)} | {shown} |"
        )
    return "\n".join(lines)


def page(text: str) -> str:
    """The page, with what is drawn as it is now."""
    every = sources()
    drawn = {"distributions": draw_distributions(every), "figures": draw_figures(every)}
    drawn |= {own: draw_folders(own, every) for own in ORDER}

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{drawn.pop(match[2])}\n\n<!-- end -->"

    marked = r"(<!-- drawn: (\w+) -->)\n.*?<!-- end -->"
    text = re.sub(marked, fill, text, flags=re.DOTALL)
    assert not drawn, f"{PAGE.name} has no place for {[*drawn]}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    parser.add_argument("--figures", nargs="?", const=ROOT, type=Path, metavar="ROOT")
    options = parser.parse_args()
    if options.figures is not None:
        every = sources(options.figures)
        for own in ORDER:
            print(own, *figures(own, every))
        return 0
    old = PAGE.read_text()
    new = page(old)
    if not options.check:
        PAGE.write_text(new)
    elif old != new:
        print(f"docs/{PAGE.name} is out of date: run `hatch run format`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
