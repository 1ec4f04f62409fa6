"""Annotations that name what does not exist yet, on Python 3.14 and in strings before it.

Where the interpreter is older than 3.14 the tests run on a stand-in: `annotationlib`, classes,
functions and `dataclasses` with the semantics that PEP 649, PEP 749 and their documentation give.
The source is the same.
"""

import ast
import builtins
import dataclasses
import enum
import inspect
import sys
import textwrap
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from pytree_module import AbstractClassVar, AbstractVar, Module, StrictConfig, _annotations, field

NATIVE = sys.version_info >= (3, 14)


class Format(enum.IntEnum):
    VALUE = 1
    VALUE_WITH_FAKE_GLOBALS = 2
    FORWARDREF = 3
    STRING = 4


@dataclasses.dataclass(frozen=True)
class ForwardRef:
    """Stands for an expression with a name that is not defined."""

    name: str

    def __or__(self, other: Any) -> "ForwardRef":
        return ForwardRef(f"{self.name} | {getattr(other, '__name__', other)}")

    def __ror__(self, other: Any) -> "ForwardRef":
        return ForwardRef(f"{getattr(other, '__name__', other)} | {self.name}")


class References(dict[str, Any]):
    """The names of a scope, with references for those that it lacks."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, ForwardRef(name))


class Annotate:
    """What the compiler makes of annotations: `texts`, evaluated in `scope` when they are asked
    for. As that, it knows how to give values alone, and leaves the rest to `annotationlib`."""

    def __init__(self, texts: dict[str, str], scope: dict[str, Any]):
        self.texts, self.scope = texts, scope
        self.evaluated = 0

    def __call__(self, format: int, /) -> dict[str, Any]:
        if format > Format.VALUE_WITH_FAKE_GLOBALS:
            raise NotImplementedError(format)
        self.evaluated += 1
        return {name: eval(text, self.scope) for name, text in self.texts.items()}

    def with_forward_references(self) -> dict[str, Any]:
        scope = References(self.scope)
        return {name: eval(text, {}, scope) for name, text in self.texts.items()}


def call_annotate_function(annotate: Any, format: int, *, owner: Any = None) -> dict[str, Any]:
    try:
        return annotate(format)
    except NotImplementedError:
        if format == Format.STRING:
            return dict(annotate.texts)
        return annotate.with_forward_references()


def get_annotations(obj: Any, *, format: int = Format.VALUE) -> dict[str, Any]:
    if not isinstance(obj, LazyMeta) and not hasattr(obj, "__annotate__"):
        return inspect.get_annotations(obj)
    if format == Format.VALUE:
        return dict(value_of(obj))
    if format == Format.FORWARDREF:
        try:
            return dict(value_of(obj))
        except NameError:
            pass
    if obj.__annotate__ is None:
        return dict(value_of(obj))
    return call_annotate_function(obj.__annotate__, format, owner=obj)


def value_of(obj: Any) -> dict[str, Any]:
    """`obj.__annotations__`, which functions of older versions cannot compute."""
    if isinstance(obj, LazyMeta) or obj.__annotate__ is None:
        return obj.__annotations__
    return obj.__annotate__(Format.VALUE)


def type_repr(value: Any) -> str:
    return value.__qualname__ if isinstance(value, type) else repr(value)


def signature(function: Any, *, annotation_format: int = Format.VALUE, **options: Any) -> Any:
    found = inspect.signature(function, **options)
    if isinstance(function, type) or not hasattr(function, "__annotate__"):
        return found
    annotations = get_annotations(function, format=annotation_format)
    return found.replace(
        parameters=[
            p.replace(annotation=annotations.get(name, p.empty))
            for name, p in found.parameters.items()
        ]
    )


class LazyMeta(type(Module)):
    """Classes whose annotations are computed, as `type` does it since 3.14."""

    @property
    def __annotate__(cls) -> Any:
        return vars(cls).get("__annotate_func__")

    @__annotate__.setter
    def __annotate__(cls, annotate: Any) -> None:
        type.__setattr__(cls, "__annotate_func__", annotate)
        if "__cached__" in vars(cls):
            type.__delattr__(cls, "__cached__")

    @property
    def __annotations__(cls) -> Any:
        if "__cached__" not in vars(cls):
            annotate = cls.__annotate__
            found = {} if annotate is None else annotate(Format.VALUE)
            type.__setattr__(cls, "__cached__", found)
        return vars(cls)["__cached__"]

    @__annotations__.setter
    def __annotations__(cls, found: Any) -> None:
        type.__setattr__(cls, "__cached__", found)
        type.__setattr__(cls, "__annotate_func__", None)


class LazyModule(Module, metaclass=LazyMeta):
    pass


def dataclass(**options: Any) -> Callable[[type], type]:
    """`dataclasses.dataclass`, whose `__init__` has a function for its annotations."""

    def decorate(cls: Any) -> type:
        in_dict: Any = inspect.getattr_static(type, "__annotations__")
        in_dict.__set__(cls, get_annotations(cls, format=Format.FORWARDREF))
        dataclasses_dataclass(**options)(cls)
        in_dict.__delete__(cls)
        if options["init"]:
            parameters = [f.name for f in dataclasses.fields(cls) if f.init]

            def annotate(format: int, /) -> dict[str, Any]:
                found: dict[str, Any] = {}
                for base in reversed(cls.__mro__):
                    found.update(get_annotations(base, format=format))
                of_parameters = {name: found[name] for name in parameters}
                return {**of_parameters, "return": "None" if format == Format.STRING else None}

            cls.__init__.__annotations__ = {}
            cls.__init__.__annotate__ = annotate
        return cls

    return decorate


dataclasses_dataclass = dataclasses.dataclass


class Strip(ast.NodeTransformer):
    """Moves the annotations of classes and functions into an `Annotate`."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        texts: dict[str, str] = {}
        body: list[ast.stmt] = []
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                texts[ast.unparse(statement.target)] = ast.unparse(statement.annotation)
                if statement.value is not None:
                    body.append(ast.Assign([statement.target], statement.value))
            else:
                body.append(statement)
        note = ast.parse(f"__annotate_func__ = Annotate({texts!r}, globals())").body
        node.body = [*body, *note]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        texts = {a.arg: ast.unparse(a.annotation) for a in node.args.args if a.annotation}
        for argument in node.args.args:
            argument.annotation = None
        node.returns = None
        if texts:
            node.decorator_list.append(ast.parse(f"annotated({texts!r})", mode="eval").body)
        return node


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Runs source as Python 3.14 does."""

    def annotated(texts: dict[str, str]) -> Callable[[Any], Any]:
        def annotate(function: Any) -> Any:
            function.__annotate__ = Annotate(texts, scope)
            return function

        return annotate

    scope: dict[str, Any] = {
        "__name__": __name__,
        "AbstractClassVar": AbstractClassVar,
        "AbstractVar": AbstractVar,
        "Annotate": Annotate,
        "Module": Module if NATIVE else LazyModule,
        "StrictConfig": StrictConfig,
        "annotated": annotated,
        "field": field,
        "jax": jax,
        "jnp": jnp,
    }
    if not NATIVE:
        library = SimpleNamespace(
            Format=Format,
            call_annotate_function=call_annotate_function,
            get_annotations=get_annotations,
            type_repr=type_repr,
        )
        monkeypatch.setattr(_annotations, "annotationlib", library)
        monkeypatch.setattr(_annotations, "_signature", signature)
        monkeypatch.setattr(dataclasses, "dataclass", dataclass)

    def run(source: str) -> Any:
        tree = ast.parse(textwrap.dedent(source))
        exec(
            compile(tree if NATIVE else ast.fix_missing_locations(Strip().visit(tree)), "", "exec"),
            scope,
        )
        return SimpleNamespace(**scope)

    return run


def annotations(obj: Any, format: str) -> dict[str, Any]:
    library = _annotations.annotationlib
    return library.get_annotations(obj, format=getattr(library.Format, format))


def shown(obj: Any, format: str) -> dict[str, str]:
    """With the name of a forward reference or a class in its place."""
    found = annotations(obj, format)
    return {k: getattr(v, "__forward_arg__", getattr(v, "name", v)) for k, v in found.items()}


CONVERTED = """
    def to_float(x: int | Later) -> float:
        return float(x)

    class Node(Module):
        value: float = field(converter=to_float)
        next: Node | None
        other: Later
        plain: jax.Array = field(converter=jnp.asarray, default=1.0)
"""


def test_a_class_may_name_itself_and_what_is_missing(run: Any) -> None:
    Node = run(CONVERTED).Node
    node = Node("1.5", Node(2, None, "a"), "b")
    assert node.value == 1.5 and node.next.value == 2.0 and node.plain == 1.0
    assert list(inspect.signature(Node).parameters) == ["value", "next", "other", "plain"]
    assert Node.__doc__.startswith("Node(value:")


def test_a_converters_parameter_is_found_when_it_is_asked_for(run: Any) -> None:
    names = run(CONVERTED)
    init = names.Node.__init__
    with pytest.raises(NameError, match="Later"):
        annotations(init, "VALUE")
    assert shown(init, "STRING") | {"plain": "?"} == {
        "value": "int | Later",
        "next": "Node | None",
        "other": "Later",
        "plain": "?",
        "return": "None",
    }
    open_ = shown(init, "FORWARDREF")
    assert open_["next"] == names.Node | None and open_["other"] == "Later"
    later = run("class Later: pass").Later
    assert annotations(init, "VALUE") | {"plain": 0} == {
        "value": int | later,
        "next": names.Node | None,
        "other": later,
        "plain": 0,
        "return": None,
    }


ABSTRACT = """
    class Base(Module):
        size: AbstractVar[Later]
        kind: AbstractClassVar[str]
        next: Base | None

    class Leaf(Base):
        size: Later
        kind = "leaf"
"""


def test_abstract_attributes_leave_the_annotations_as_they_are(run: Any) -> None:
    names = run(ABSTRACT)
    assert [f.name for f in dataclasses.fields(names.Base)] == ["next"]
    with pytest.raises(TypeError, match="abstract attributes {'size'} and abstract class"):
        names.Base(None)
    assert names.Base.__abstractvars__ == {"size"} and names.Base.__abstractclassvars__ == {"kind"}
    assert names.Base.__annotate__ is not None
    assert shown(names.Base, "STRING") == {
        "size": "AbstractVar[Later]",
        "kind": "AbstractClassVar[str]",
        "next": "Base | None",
    }
    with pytest.raises(NameError, match="Later"):
        _ = names.Base.__annotations__
    leaf = names.Leaf(None, 3)
    assert leaf.size == 3 and leaf.kind == "leaf" and jax.tree.leaves(leaf) == [3]
    later = run("class Later: pass").Later
    assert names.Base.__annotations__ == {
        "size": AbstractVar[later],
        "kind": AbstractClassVar[str],
        "next": names.Base | None,
    }
    assert names.Leaf.__annotations__ == {"size": later}


def test_strict_classes(run: Any) -> None:
    names = run(
        """
        class AbstractNode(Module, strict=StrictConfig()):
            size: AbstractVar[int]

        class Leaf(AbstractNode, strict=StrictConfig()):
            size: int
            next: Later
        """
    )
    assert names.Leaf(1, 2).next == 2


def test_a_method_set_later_asks_for_no_annotation(run: Any) -> None:
    names = run("class Node(Module):\n    next: Later")
    names.Node.get = lambda self: self.next
    assert jax.tree.leaves(names.Node(3).get) == [3]


@pytest.mark.skipif(NATIVE, reason="of the stand-in")
def test_forward_references_are_never_kept(run: Any) -> None:
    names = run(CONVERTED + ABSTRACT)
    for cls in (names.Node, names.Base, names.Leaf):
        kept = [vars(cls).get("__cached__", {}), vars(cls).get("__annotations__", {})]
        kept.append(cls.__init__.__annotations__)
        assert not any(isinstance(v, ForwardRef) for found in kept for v in found.values())


def test_before_3_14_strings_stay_strings() -> None:
    if NATIVE:
        pytest.skip("a class body there has no dictionary of annotations")

    class Node(Module):
        value: "int" = field(converter=int)
        next: "Node | None"
        size: "AbstractVar[Later]"  # type: ignore[name-defined]

    assert Node.__annotations__ == {
        "value": "int",
        "next": "Node | None",
        "size": "AbstractVar[Later]",
    }
    assert [f.name for f in dataclasses.fields(Node)] == ["value", "next"]
    assert Node.__init__.__annotations__ == {"value": Any, "next": "Node | None", "return": None}
