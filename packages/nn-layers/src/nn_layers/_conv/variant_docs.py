"""Documents of the layers for one, two and three spatial dimensions.

`Conv2d` has a signature and a docstring of its own, with what is special about it: its shapes and
an example. What it shares with `Conv` is written there, once, and added when the module is
imported.
"""

import inspect
import sys
from collections.abc import Sequence
from typing import NamedTuple


class _Paragraphs(NamedTuple):
    """The docstring of a layer in parts. Each but the summary and the shapes may be empty."""

    summary: str
    formula: list[str]
    shapes: str
    sections: list[str]
    example: list[str]


def complete_docs(
    variants: Sequence[type], general: type, *, fixed: Sequence[str], formula: type | None = None
) -> None:
    """Adds to the docstring of each variant what it shares with the general class.

    **Arguments:**

    - `variants`: classes whose docstrings have a summary, **Shapes** and an example.
    - `general`: the class whose sections between **Shapes** and example are added: initialisation,
        arguments, errors, source.
    - `fixed`: the arguments of `general` that the variants do not have. They are left out.
    - `formula`: the class whose formula is added before **Shapes**; by default `general`.
    """
    if sys.flags.optimize == 2:
        return  # `python -OO` has no docstrings
    law = _paragraphs(formula or general).formula
    sections = [_without(fixed, text) for text in _paragraphs(general).sections]
    for variant in variants:
        own = _paragraphs(variant)
        parts = [own.summary, *own.formula, *law, own.shapes, *sections, *own.example]
        variant.__doc__ = "\n\n".join(parts)


def _paragraphs(cls: type) -> _Paragraphs:
    """The docstring of a class, which has a paragraph that begins with **Shapes:**."""
    texts = (inspect.getdoc(cls) or "").split("\n\n")
    shapes = next(i for i, text in enumerate(texts) if text.startswith("**Shapes:**"))
    example = texts.index("!!! example") if "!!! example" in texts else len(texts)
    return _Paragraphs(
        summary=texts[0],
        formula=texts[1:shapes],
        shapes=texts[shapes],
        sections=texts[shapes + 1 : example],
        example=texts[example:],
    )


def _without(arguments: Sequence[str], text: str) -> str:
    """A list of arguments without those that are named; any other paragraph as it is."""
    names = tuple(f"- `{name}`" for name in arguments)
    items = text.replace("\n- ", "\n\n- ").split("\n\n")
    return "\n".join(item for item in items if not item.startswith(names))
