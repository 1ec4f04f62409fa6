"""No function has a cyclomatic complexity above 12, as radon counts it.

    python tests/lint/complexity.py [--figures ROOT]

ruff's C901 holds the same number, but does not count `and`, `or` and conditional expressions.
`--figures` prints, for the packages of any checkout: the highest, how many are above, the mean; for
each folder the comment lines for 100 lines of code, without docstrings and tools' remarks; and how
many names of private files have one word.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from radon.complexity import cc_visit

ROOT = Path(__file__).parents[2]
LIMIT = 12
FOLDERS = ("packages", "docs", "examples", "hatch_build.py")
REMARK = re.compile(r"# (noqa|pyright:|type:|fmt:|pragma)")


def files(root: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        path = root / folder
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def functions(file: Path) -> Iterator[Any]:
    """Each function and method, as radon sees it; a function within another counts for that one."""
    for block in cc_visit(file.read_text()):
        if block.letter != "C":  # the mean of a class says nothing that its methods do not
            yield block


def comments_and_code(file: Path) -> tuple[int, int]:
    """How many lines have a comment, and how many have code that is no docstring."""
    text = file.read_text()
    documents: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documents.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    comments, code = set(), set()
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if not REMARK.match(token.string):
                comments.add(token.start[0])
        elif token.type not in layout:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(comments), len(code - documents)


def figures(root: Path) -> None:
    found = [block for file in files(root, "packages") for block in functions(file)]
    numbers = [block.complexity for block in found]
    above = sum(n > LIMIT for n in numbers)
    mean = sum(numbers) / len(numbers)
    print(f"{len(found)} functions: at most {max(numbers)}, {above} above {LIMIT}, mean {mean:.2f}")
    counted: dict[str, list[int]] = {}
    names = []
    for file in files(root, "packages"):
        if "src" not in file.parts:
            continue
        inside = file.relative_to(root).parts[3:]  # packages/NAME/src/ are no part of it
        folder = "/".join(inside[:-1])
        comments, code = comments_and_code(file)
        total = counted.setdefault(folder, [0, 0])
        total[0], total[1] = total[0] + comments, total[1] + code
        if file.stem.startswith("_") or any(part.startswith("_") for part in inside[1:-1]):
            names.append(file.stem.strip("_"))
    for folder, (comments, code) in counted.items():
        print(f"{100 * comments / max(code, 1):5.1f} comment lines for 100 of code: {folder}")
    names = [name for name in names if name != "init"]
    print(f"{sum('_' not in name for name in names)} of {len(names)} private names have one word")


def main() -> int:
    if "--figures" in sys.argv:
        figures(Path(sys.argv[-1]))
        return 0
    found = 0
    for file in files(ROOT, *FOLDERS):
        for block in functions(file):
            if block.complexity > LIMIT:
                found += 1
                where = f"{file.relative_to(ROOT)}:{block.lineno}"
                print(f"{where}: {block.fullname} has {block.complexity}, more than {LIMIT}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
