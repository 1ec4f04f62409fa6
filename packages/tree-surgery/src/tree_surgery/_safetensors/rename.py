"""`rename`: other names for the leaves of a file or of a state dictionary, by rules.

Here is decided what `*` and `**` match in a rule. Rules match whole steps of a dotted name, or a
first part of it in whole steps. (Patterns that select nodes of a tree are those of
`_select/path_pattern.py`.)
"""

import re
from collections.abc import Callable, Iterable, Mapping

from tree_surgery._errors import SerialiseError

Rename = Mapping[str, str | None] | Callable[[str], str | None]
"""A dictionary of rules, or a function of a name. `None` for a name leaves it out."""


def rename_all(names: Iterable[str], rename: Rename | None) -> dict[str, str | None]:
    """Each name with its new one; `None` for those that are left out.

    The key of a rule stands for a name and for all names that go on after it with a dot or a
    bracket. In it `*` matches one step, `**` any number of steps. What they match replaces the
    stars of the new name, one after the other. The first rule that matches counts.
    """
    if rename is None:
        return {name: name for name in names}
    if callable(rename):
        new = {name: rename(name) for name in names}
    elif not isinstance(rename, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] (a user may)
        raise SerialiseError(
            "`rename` is a dictionary from names to names, or a function of a name, but got a "
            f"`{type(rename).__name__}`."
        )
    else:
        rules = [(compile_name_pattern(old), new) for old, new in rename.items()]
        new = {name: _apply(name, rules) for name in names}
    from_name: dict[str, str] = {}
    for old, name in new.items():
        if name is not None and from_name.setdefault(name, old) != old:
            raise SerialiseError(
                f"`rename` gives `{from_name[name]}` and `{old}` the same name `{name}`.", path=name
            )
    return new


def compile_name_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression for a name, or for the first part of a name, in whole steps."""
    # `**.` at the start may also match nothing, so that `**.bias` stands for `bias` too.
    parts = re.split(r"(^\*\*\.|\*\*|\*)", pattern)
    groups = {"*": r"([^.\[\]]+)", "**": r"(.+?)", "**.": r"(?:(.+?)\.)?"}
    # The lookahead keeps `layer` from matching the first letters of `layers`.
    written = (groups.get(part, re.escape(part)) for part in parts)
    return re.compile("".join(written) + r"(?=$|[.\[])")


def _apply(name: str, rules: list[tuple[re.Pattern[str], str | None]]) -> str | None:
    """The new name by the first rule that matches, or the old name if none does."""
    for pattern, new in rules:
        found = pattern.match(name)
        if found is None:
            continue
        if new is None:
            return None
        literals = re.split(r"\*\*|\*", new)
        groups = found.groups()[: len(literals) - 1]
        if len(groups) < len(literals) - 1:
            raise SerialiseError(
                f"The new name `{new}` has more stars than the old one, so there is nothing to put "
                "in their place."
            )
        between = [group or "" for group in groups]
        filled = "".join(map("".join, zip(literals, [*between, ""], strict=True)))
        return (filled + name[found.end() :]).strip(".")
    return name
