"""`summary`: what each layer of a model puts out, without computing anything."""

import functools
import html
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax.tree_util as jtu

from filtered_transforms import filter_eval_shape
from nn_layers._recurrent.rnn import RNN
from nn_layers._state.state import State
from pytree_module import Module, module_from_fields
from tree_surgery import path_str, tree_size
from tree_surgery.extend import array_text, public

from .stacked import Stacked

_HEADER = ("layer", "type", "parameters", "output", "calls")
_RIGHT = frozenset({"parameters"})
_EACH_STEP = "in each step"


class _Call(NamedTuple):
    """One call of a layer: the shapes in its output, and whether it was within a `jax.vmap`."""

    output: str
    batched: bool


@public
def summary(
    model: object,
    *example: object,
    depth: int | None = None,
    format: Literal["text", "markdown", "html"] = "text",
    call: Callable[..., Any] | None = None,
    **named: object,
) -> str:
    """A table of the layers of a model, with their parameters and the shapes they put out.

    Nothing is computed: the model is called on shapes alone.

    **Arguments:**

    - `model`: a `Module`, or any tree of them. Its arrays may be `jax.ShapeDtypeStruct`s.
    - `example`, `named`: what the model is called on: arrays or `jax.ShapeDtypeStruct`s, and
        anything else that it takes.
    - `depth`: how many steps from the root to go; to the last layers, without.
    - `format`: `"text"`, `"markdown"` or `"html"`.
    - `call`: how the model is called, if not as `model(*example, **named)`: for a batch,
        `call=lambda model, x: jax.vmap(model)(x)`.

    **Returns:**

    A string. A layer that is called several times shows its last output; one called within a
    `jax.vmap`, what it puts out for one example; a layer of a `Stacked` or the cell of an `RNN`,
    for one layer or one step. The last column says so.

    **Raises:** `ValueError` for another `format`, or a negative depth; and what the model raises.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Linear, Sequential, summary

        key1, key2 = jax.random.split(jax.random.key(0))
        model = Sequential([Linear(3, 8, key=key1), jax.nn.relu, Linear(8, 2, key=key2)])
        print(summary(model, jnp.ones(3)))
        # layer      type        parameters  output      calls
        # ----------------------------------------------------
        # layers[0]  Linear              32  float32[8]  1
        # layers[2]  Linear              18  float32[2]  1
        # ----------------------------------------------------
        # total      Sequential          50  float32[2]  1
        ```
    """
    formats = {"text": _to_text, "markdown": _to_markdown, "html": _to_html}
    if format not in formats:
        raise ValueError(f"The format of a summary is one of {list(formats)}, not {format!r}.")
    if depth is not None and depth < 0:
        raise ValueError(f"The depth of a summary is 0 or more, not {depth}.")
    calls: dict[tuple[Any, ...], list[_Call]] = {}
    recording = _recording(model, (), calls)
    run = (lambda model, *args, **kwargs: model(*args, **kwargs)) if call is None else call
    output = filter_eval_shape(run, recording, *example, **named)
    rows = [
        _row(path, node, calls.get(path, []), note)
        for path, node, note in _layers(model, (), "")
        if path and (depth is None or len(path) <= depth)
    ]
    total = (
        "total",
        type(model).__name__,
        f"{tree_size(model).parameters:,}",
        _output_shapes(output),
    )
    return formats[format](rows, (*total, str(len(calls.get((), [])) or 1)))


def _children(node: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """The children of one node with their key paths, and its treedef. A leaf is its own child."""
    return jtu.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)


def _is_layer(node: Any) -> bool:
    """Whether the node has a row in the table."""
    return isinstance(node, Module) and callable(node)


def _recording(node: Any, path: tuple[Any, ...], calls: dict[Any, list[_Call]]) -> Any:
    """The same tree, in which each layer is of a class that notes its calls (`_recorder`)."""
    children, treedef = _children(node)
    if len(children) == 1 and children[0][0] == ():
        return node  # a leaf
    node = treedef.unflatten(_recording(child, path + keys, calls) for keys, child in children)
    if not _is_layer(node):
        return node
    # The path is in the class, since a class, unlike an instance, goes through transformations.
    return module_from_fields(_recorder(type(node), path, calls), node)


def _recorder(cls: Any, path: tuple[Any, ...], calls: dict[Any, list[_Call]]) -> Any:
    """A subclass of `cls` whose calls are noted in `calls[path]`."""
    plain = cls.__call__

    @functools.wraps(plain)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = jtu.tree_leaves((args, kwargs))  # before a state among them is spent
        out = plain(self, *args, **kwargs)
        given += jtu.tree_leaves(out)
        # JAX has no public way to ask whether a value is one of many in a `jax.vmap`.
        batched = any(type(x).__name__ == "BatchTracer" for x in given)
        calls.setdefault(path, []).append(_Call(_output_shapes(out), batched))
        return out

    names = {"__call__": __call__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return types.new_class(cls.__name__, (cls,), exec_body=lambda body: body.update(names))


def _layers(node: Any, path: tuple[Any, ...], note: str) -> Iterator[tuple[Any, Any, str]]:
    """All layers with their paths, and the note of a `Stacked` or `RNN` that they are in."""
    if _is_layer(node):
        yield path, node, note
    if isinstance(node, Stacked):
        note = f"in each of {node.length} layers"
    elif isinstance(node, RNN):
        note = _EACH_STEP
    children, _ = _children(node)
    if len(children) == 1 and children[0][0] == ():
        return
    for keys, child in children:
        yield from _layers(child, path + keys, note)


def _row(path: Any, node: Any, calls: Sequence[_Call], note: str) -> tuple[str, ...]:
    """The cells of one layer, in the order of `_HEADER`."""
    count = str(len(calls)) if calls else "not called"
    if any(call.batched for call in calls):
        count += ", in vmap"
    if note and calls:
        count += f", {note}"
    elif note == _EACH_STEP:
        count = note  # in parts: see `RNN`
    shown = calls[-1].output if calls else ""
    name = path_str(path).lstrip(".")
    return name, type(node).__name__, f"{tree_size(node).parameters:,}", shown, count


def _output_shapes(out: Any) -> str:
    """The shapes in an output, without the state of a model."""
    if isinstance(out, tuple) and any(isinstance(x, State) for x in out):
        out = [x for x in out if not isinstance(x, State)]
        out = out[0] if len(out) == 1 else out
    leaves = [x for x in jtu.tree_leaves(out) if hasattr(x, "shape") and hasattr(x, "dtype")]
    return ", ".join(map(array_text, leaves))


def _to_text(rows: Sequence[Sequence[str]], total: Sequence[str]) -> str:
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, total, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, _HEADER, strict=True)
        return "  ".join(c.rjust(w) if n in _RIGHT else c.ljust(w) for c, w, n in cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(_HEADER), rule, *map(line, rows), rule, line(total)])


def _to_markdown(rows: Sequence[Sequence[str]], total: Sequence[str]) -> str:
    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"

    rule = ["---:" if name in _RIGHT else "---" for name in _HEADER]
    return "\n".join(map(line, [_HEADER, rule, *([f"`{r[0]}`", *r[1:]] for r in rows), total]))


def _to_html(rows: Sequence[Sequence[str]], total: Sequence[str]) -> str:
    def line(row: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return (
        f"<table>\n<thead>\n{line(_HEADER, 'th')}\n</thead>\n<tbody>\n{body}\n</tbody>\n"
        f"<tfoot>\n{line(total, 'td')}\n</tfoot>\n</table>"
    )
