"""`__all__`, namespace and docs agree; known names have the parameters they are known by."""

import importlib
import importlib.util
import inspect
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
PARTS = ["tree_surgery", "pytree_module", "filtered_transforms", "runtime_checks", "nn_layers"]
FOLDERS = {f.parent.name: f.parents[2] for f in sorted(ROOT.glob("packages/*/src/*/__init__.py"))}
EXTENSIONS = sorted(ROOT.glob("packages/*/src/*/extend.py"))
# namespace -> name -> what is promised.
PROMISED = json.loads((DATA / "namespace.json").read_text())["namespaces"]


def find(path: str) -> Any:
    """The object at a dotted path below a module, or None."""
    module, _, name = path.rpartition(".")
    if importlib.util.find_spec(module.split(".")[0]) is None:
        return None
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as missing:
        if (
            missing.name != module
        ):  # something else is missing: that is a fault, not a name to be built
            raise
        return None


@pytest.mark.parametrize("name", [*PARTS, "equinoctial"])
def test_namespace_is_all(name: str):
    module = importlib.import_module(name)
    given = {key: getattr(module, key) for key in dir(module) if not key.startswith("_")}
    public = {key for key, value in given.items() if not isinstance(value, types.ModuleType)}
    listed = {
        key for key in module.__all__ if not isinstance(getattr(module, key), types.ModuleType)
    }
    assert sorted(set(module.__all__)) == sorted(module.__all__), "a name is twice in __all__"
    assert public == listed


@pytest.mark.parametrize("name", PARTS)
def test_every_public_name_is_documented(name: str):
    module = importlib.import_module(name)
    readme = (FOLDERS[name] / "README.md").read_text()
    for key in module.__all__:
        value = getattr(module, key)
        if callable(value):
            document = value.__doc__
            assert isinstance(document, str) and document, f"{name}.{key} has no docstring"
            # Else it is what Python or a dataclass has made of the fields.
            assert not document.startswith(f"{key}("), f"{name}.{key} has no docstring of its own"
            bases = inspect.getmro(value)[1:] if isinstance(value, type) else ()
            inherited = any(document == base.__doc__ for base in bases)
            assert not inherited, f"{name}.{key} has the docstring of a base"
        assert f"`{key}`" in readme, f"{name}.{key} is not named in the README of {name}"


@pytest.mark.parametrize("name", [f.parent.name for f in EXTENSIONS])
def test_every_name_for_libraries_is_in_the_readme(name: str):
    readme = (FOLDERS[name] / "README.md").read_text()
    names = importlib.import_module(f"{name}.extend").__all__
    assert not [key for key in names if f"`{key}`" not in readme]


@pytest.mark.parametrize("name", PARTS)
def test_public_objects_show_their_public_path(name: str):
    module = importlib.import_module(name)
    for key in module.__all__:
        value = getattr(module, key)
        if isinstance(value, type | types.FunctionType):
            shown = value.__module__
            assert not any(part.startswith("_") for part in shown.split(".")), f"{key}: {shown}"


def test_the_meta_distribution_holds_the_same_objects():
    eqx, nn = (importlib.import_module(name) for name in ("equinoctial", "equinoctial.nn"))
    parts = [importlib.import_module(name) for name in PARTS]
    for module in (eqx, nn):
        for key in module.__all__:
            value = getattr(module, key)
            is_module = isinstance(value, types.ModuleType)
            same = any(getattr(part, key, None) is value for part in parts)
            assert is_module or same, f"{module.__name__}.{key} is no object of a part"


def promised() -> Iterator[tuple[str, dict[str, Any]]]:
    for namespace, names in PROMISED.items():
        for name, promise in names.items():
            yield f"{namespace}.{name}", promise


def compare(path: str, target: Callable[..., Any], promise: list[dict[str, str]]) -> Iterator[str]:
    """What of a callable's parameters is not as promised: names, kinds, order, plain defaults."""
    ours = list(inspect.signature(target).parameters.values())
    expected = [(p["name"], p["kind"].upper()) for p in promise]
    known = {name for name, _ in expected}
    # What is there beyond the promise can be left out, and is in nobody's way.
    ours = [
        p for p in ours if p.name in known or p.kind is not p.KEYWORD_ONLY or p.default is p.empty
    ]
    found = [(p.name, p.kind.name) for p in ours]
    if found != expected:
        yield f"{path}: parameters are {found}, promised were {expected}"
        return
    for parameter, wanted in zip(ours, promise, strict=True):
        has = parameter.default is not parameter.empty
        if has != ("default" in wanted):
            yield f"{path}: {parameter.name} has {'a' if has else 'no'} default"
            continue
        plain = has and wanted["default"][0] in "'(0123456789NTF"  # others: sentinels, functions
        if plain and repr(parameter.default) != wanted["default"]:
            yield f"{path}: {parameter.name} is {parameter.default!r}, not {wanted['default']}"


@pytest.mark.parametrize(("path", "promise"), [pytest.param(*p, id=p[0]) for p in promised()])
def test_promised_name(path: str, promise: dict[str, Any]):
    value = find(path)
    assert value is not None, f"{path} is missing"
    wrong: list[str] = []
    if "parameters" in promise:
        wrong += compare(path, value, promise["parameters"])
    for name, parameters in promise.get("methods", {}).items():
        wrong += compare(f"{path}.{name}", getattr(value, name), parameters)
    fields = {
        f.name: bool(f.metadata.get("static"))
        for f in getattr(value, "__dataclass_fields__", {}).values()
    }
    for field in promise.get("fields", []):
        if fields.get(field["name"]) != field["static"]:
            wrong.append(f"{path}: field {field}, found static={fields.get(field['name'])}")
    assert not wrong, "\n".join(wrong)
