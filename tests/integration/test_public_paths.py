"""Every public name shows its public path, and its source is found where it is defined."""

import copy
import importlib
import inspect
import io
import pickle
import pickletools
import re
import subprocess
import sys
import traceback
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pytest

MODULES = [
    "tree_surgery",
    "tree_surgery.extend",
    "pytree_module",
    "pytree_module.extend",
    "filtered_transforms",
    "filtered_transforms.extend",
    "runtime_checks",
    "runtime_checks.debug",
    "nn_layers",
    "nn_layers.extend",
]


# The same objects as in `extend`, by an older path.
OLDER = {("filtered_transforms", "scan"), ("filtered_transforms", "while_loop")}


def names() -> Iterator[tuple[str, str]]:
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            value = getattr(importlib.import_module(module), name)
            if isinstance(value, type | types.FunctionType) and (module, name) not in OLDER:
                yield module, name


NAMES = list(names())
CLASSES = [(m, n) for m, n in NAMES if isinstance(getattr(importlib.import_module(m), n), type)]
ALIASES = {"tree_inference"}  # another name of a function
every = pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{m}.{n}" for m, n in NAMES])
every_class = pytest.mark.parametrize(
    ("module", "name"), CLASSES, ids=[f"{m}.{n}" for m, n in CLASSES]
)


def public(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


@every
def test_shows_its_public_path(module: str, name: str):
    value = public(module, name)
    assert value.__module__ == module
    assert (value.__module__ != module) is False
    assert isinstance(value.__module__, str)
    assert str(value.__module__) == f"{value.__module__}" == module
    assert type(str(value.__module__)) is str
    if isinstance(value, type):
        assert repr(value) == f"<class '{module}.{name}'>"


@every
def test_its_source_is_its_own(module: str, name: str):
    value = public(module, name)
    source = inspect.getsource(value)
    name = value.__name__ if name in ALIASES else name
    kind = "class" if isinstance(value, type) else "def"
    assert re.search(rf"^(@|{kind} {name}\b)", inspect.cleandoc(source))
    assert re.search(rf"^\s*{kind} {name}\b", source, re.MULTILINE)
    file = inspect.getsourcefile(inspect.unwrap(value))  # of a `contextmanager`, what it wraps
    assert file is not None and source in Path(file).read_text()
    assert Path(file).name != "__init__.py"


def pickles(value: Any) -> Iterator[bytes]:
    """Of every protocol, by the pickler in C and by that in Python."""
    first = 0 if value.__qualname__.isascii() else 4  # before, names are in ASCII
    for protocol in range(first, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(value, protocol)
        file = io.BytesIO()
        pickle._Pickler(file, protocol).dump(value)
        yield file.getvalue()


@every
def test_pickles_as_what_is_public(module: str, name: str):
    value = public(module, name)
    for written in pickles(value):
        assert pickle.loads(written) is value
        assert pickle._loads(written) is value
        if not name.isascii():  # `pickletools` cannot read it
            continue
        words = {
            word
            for opcode, argument, _ in pickletools.genops(written)
            if isinstance(argument, str)
            for word in argument.split()
        }
        known = {module, value.__qualname__, "builtins", "__builtin__", "str", "unicode"}
        assert words <= known | {"_codecs", "encode", "latin1"}


@every_class
def test_pickles_of_old_load(module: str, name: str):
    plain = b"c" + f"{module}\n{name}\n".encode() + b"."
    assert pickle.loads(plain) is public(module, name)


@every_class
def test_other_picklers_and_copies(module: str, name: str):
    value = public(module, name)
    assert pickle.loads(cloudpickle.dumps(value)) is value
    assert copy.copy(value) is copy.deepcopy(value) is value
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    assert joblib.load(file) is value
    path = value.__module__
    for other in (copy.copy(path), copy.deepcopy(path), pickle.loads(pickle.dumps(path))):
        assert type(other) is str and other == module


@every_class
def test_annotations_are_read_where_they_are_written(module: str, name: str):
    value = public(module, name)
    annotations = vars(value).get("__annotations__", {})
    if name in ("AbstractVar", "AbstractClassVar"):
        return
    try:
        hints = typing.get_type_hints(value)
    except NameError as error:  # in a base class of JAX's, or under `TYPE_CHECKING`
        assert any(error.name in str(a) for a in annotations.values()), error
        return
    assert hints.keys() >= set(annotations)


def test_a_key_for_the_defining_module():
    linear = public("nn_layers", "Linear")
    defined_in = sys.modules[linear.__module__]
    assert vars(defined_in)["Linear"] is linear and inspect.getmodule(linear) is defined_in
    assert linear.__module__ in ["nn_layers"]
    assert str(linear.__module__) in {"nn_layers"}
    assert linear.__module__ != "pytree_module" and linear.__module__ != 3


def test_traceback_shows_the_public_path():
    error = public("tree_surgery", "WhereError")
    try:
        raise error("wrong")
    except error as raised:
        assert traceback.format_exception(raised)[-1] == "tree_surgery.WhereError: wrong\n"
    program = "import tree_surgery; raise tree_surgery.SerialiseError('wrong')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.endswith("\ntree_surgery.SerialiseError: wrong\n")


def test_overloads_are_found():
    filter_jit = public("filtered_transforms", "filter_jit")
    variants = typing.get_overloads(filter_jit)
    assert variants and {v.__module__ for v in variants} == {"filtered_transforms"}


def test_help_shows_the_class():
    text = subprocess.run(
        [sys.executable, "-c", "import nn_layers; help(nn_layers.Linear)"],
        capture_output=True,
        text=True,
    ).stdout
    assert "class Linear(pytree_module.Module)" in text
