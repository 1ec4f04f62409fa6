"""Runs the Python blocks of a page and puts what they print into the `text` block after each.

`python docs/page.py docs/when-it-fails.md` rewrites the page; with `--check` it exits with 1 where
the page is no longer true, and shows what differs. Each block is run in a namespace of its own,
after the first, which holds the imports. An exception is shown by its type and message.
"""

import contextlib
import difflib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<text>.*?)^```\n)?", re.M | re.S
)

OWN_FRAME = re.compile(r'^  File ".*docs/page\.py", .*\n    .*\n', re.M)


def output(page: Path, code: str, line: int, names: dict[str, Any]) -> str:
    """What a block prints that begins at a line of the page."""
    printed = io.StringIO()
    compiled = compile("\n" * (line - 1) + code, str(page), "exec")
    with contextlib.redirect_stdout(printed):
        try:
            exec(compiled, names)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    # The lines of this file are none of the page's.
    return OWN_FRAME.sub("", printed.getvalue())


def rewritten(page: Path) -> str:
    """The page with the outputs of now."""
    text, first = page.read_text(), {"__name__": "__main__"}
    parts: list[str] = []
    end = 0
    for number, block in enumerate(BLOCK.finditer(text)):
        line = text.count("\n", 0, block.start("code")) + 1
        names = first if number == 0 else dict(first)
        printed = output(page, block["code"], line, names)
        parts += [text[end : block.start()], f"```python\n{block['code']}```\n"]
        if printed:
            parts.append(f"\n```text\n{printed.rstrip()}\n```\n")
        end = block.end()
    return "".join([*parts, text[end:]])


def main(page: Path, check: bool) -> int:
    if check:
        old, new = page.read_text(), rewritten(page)
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True)))
        return int(old != new)
    page.write_text(rewritten(page))
    return 0


if __name__ == "__main__":
    if "--check" not in sys.argv[2:] and "--once" not in sys.argv[2:]:
        # Outputs name lines of the page, which move with the lengths of outputs: until they settle.
        for _ in range(3):
            subprocess.run([sys.executable, __file__, sys.argv[1], "--once"], check=True)
    else:
        raise SystemExit(main(Path(sys.argv[1]), "--check" in sys.argv[2:]))
