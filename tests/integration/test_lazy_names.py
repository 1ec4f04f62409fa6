"""Names are loaded when they are first asked for, and nothing else is."""

import ast
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = [
    "tree_surgery",
    "pytree_module",
    "filtered_transforms",
    "runtime_checks",
    "nn_layers",
    "equinoctial",
]
OURS = re.compile(rf"({'|'.join(DISTRIBUTIONS)})(\.|$)")
HEAVY = {
    "asyncio",
    "jax.extend",  # JAX 0.10 imports Pallas with it
    "unittest",
    "pygments",
    "concurrent.futures",
    "pydoc",
    "doctest",
    "logging.config",
}


def tables() -> dict[str, tuple[ast.If, dict[str, str]]]:
    """Each module that loads names late: what checkers see, and its table."""
    found = {}
    for file in sorted(ROOT.glob("packages/*/src/**/*.py")):
        source = next(p for p in file.parents if p.name == "src")
        parts = file.relative_to(source).with_suffix("").parts
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
                made = [c for c in calls if ast.unparse(c.func) == "_lazy_names"]
                for call in made:
                    name = ".".join(parts).removesuffix(".__init__")
                    found[name] = node, ast.literal_eval(call.args[1])
    return found


TABLES = tables()


FORKS = """
import json, os, sys, traceback
import jax, jax.numpy
for line in sys.stdin:
    program, out = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
        try:
            exec(program, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs programs in forks of a process that has loaded JAX, and nothing of ours."""

    def __init__(self, folder: Path, *options: str):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *options, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a fork has one thread only
        )

    def run(self, program: str) -> str:
        out = self.folder / "out.txt"
        out.unlink(missing_ok=True)
        self.process.stdin.write(json.dumps([program, str(out)]) + "\n")
        self.process.stdin.flush()
        code = self.process.stdout.readline()
        assert code == "0\n", out.read_text()
        return out.read_text()

    def loaded_by(self, statement: str) -> set[str]:
        """The modules that a statement loads."""
        program = (
            "import sys; before = set(sys.modules)\n"
            f"{statement}\nnew = sorted(set(sys.modules) - before)\n"
            # What has no spec stands for a file that was, for old pickles (`moved_names`).
            "print(*(m for m in new if getattr(sys.modules[m], '__spec__', None)), sep='\\n')"
        )
        return set(self.run(program).splitlines())

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("fresh"))
    yield forks
    forks.close()


@pytest.mark.parametrize("name", TABLES)
def test_checkers_see_what_is_loaded(name: str):
    block, table = TABLES[name]
    renamed = {
        ast.unparse(node.value): ast.unparse(node.targets[0])
        for node in block.body
        if isinstance(node, ast.Assign)
    }
    seen = {
        ("." * node.level + (node.module or ""), alias.name, renamed.get(here, here))
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        for here in [alias.asname or alias.name]
    }
    given = set()
    for home, names in table.items():
        if not names and name != "filtered_transforms":  # see the comment there
            given.add((".", home.lstrip("."), home.lstrip(".")))
        for item in filter(None, names.split(", ")):
            there, _, here = item.partition(" as ")
            given.add((home, there, here or there))
    assert seen == given


@pytest.mark.parametrize("name", TABLES)
def test_every_name_is_there(name: str):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(set(module.__all__)) and set(module.__all__) <= set(dir(module))
    for key in module.__all__:
        value = getattr(module, key)
        assert value is vars(module)[key]
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'not_there'"):
        module.not_there  # noqa: B018
    assert not hasattr(module, "not_there")


def test_all_modules_with_many_names_are_lazy():
    assert {*DISTRIBUTIONS, "equinoctial.nn", "equinoctial.internal"} < TABLES.keys()


SELECTORS = "tree_surgery._select.selectors"


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_import_loads_no_private_folder(name: str, fresh: Forks):
    loaded = fresh.loaded_by(f"import {name}")
    assert not loaded & HEAVY
    allowed = {"tree_surgery._lazy", "tree_surgery._public", "tree_surgery.extend"}
    if name in ("runtime_checks", "equinoctial"):  # the hook of the toolkit
        allowed |= {"filtered_transforms.extend", "filtered_transforms._primitives"}
        allowed |= {"filtered_transforms._primitives.raise_hook"}
    ours = {m for m in loaded if OURS.match(m)}
    assert {m for m in ours if m not in DISTRIBUTIONS} <= allowed
    assert loaded - ours <= {"unicodedata"}  # of the parser, where a file has a letter such as ω


@pytest.mark.parametrize(
    ("statement", "not_loaded"),
    [
        ("import tree_surgery; tree_surgery.tree_at", "tree_surgery._safetensors.load"),
        ("import pytree_module; pytree_module.Module", "filtered_transforms"),
        ("import filtered_transforms as f; f.filter_jit", "filtered_transforms._reverse_loops"),
        ("import nn_layers; nn_layers.Linear", "nn_layers._recurrent"),
        (
            "import equinoctial as eqx; eqx.Module, eqx.filter_jit, eqx.nn.Linear",
            "runtime_checks._error_if",
        ),
        ("import nn_layers, filtered_transforms as f; nn_layers.Linear, f.filter_jit", SELECTORS),
        ("import equinoctial as eqx; eqx.Module, eqx.nn.Linear", "tree_surgery._show.pformat"),
    ],
)
def test_a_name_loads_what_it_needs(statement: str, not_loaded: str, fresh: Forks):
    loaded = fresh.loaded_by(statement)
    # jaxtyping itself uses `unittest.mock`, which loads asyncio.
    assert not_loaded not in loaded and not loaded - fresh.loaded_by("import jaxtyping") & HEAVY


@pytest.mark.parametrize(
    ("first", "options"),
    [
        ("equinoctial", ()),
        ("runtime_checks", ()),
        ("filtered_transforms.extend", ()),
        ("filtered_transforms.extend", ("-OO",)),
    ],
)
def test_the_toolkit_raises_as_run_time_checks_do(
    first: str, options: tuple[str, ...], fresh: Forks, tmp_path: Path
):
    program = f"""
import {first}, runtime_checks, jax
from filtered_transforms import filter_jit
from filtered_transforms.extend import nondifferentiable, scan_trick, unvmap_any
from filtered_transforms._primitives.raise_hook import raise_if
try:
    filter_jit(lambda x: raise_if(x, x > 0, "positive"))(jax.numpy.ones(()))
except runtime_checks.EquinoxRuntimeError as error:
    print(error.message)
"""
    forks = Forks(tmp_path, *options) if options else fresh
    assert forks.run(program).strip() == "positive"
    if forks is not fresh:
        forks.close()


@pytest.mark.parametrize(
    "use",
    [
        "runtime_checks.error_if(x, x > 0, 'positive')",
        "runtime_checks.check(x > 0, 'positive')",
        "runtime_checks.branched_error_if(x, x > 0, 0, ['positive'])",
        "runtime_checks.debug.assert_dce(x, 'gone')",
        "Codes.other.error_if(x, x > 0)",
    ],
)
def test_what_makes_a_check_registers_it(use: str, fresh: Forks):
    program = f"""
import runtime_checks, runtime_checks.debug, jax.numpy as jnp
from filtered_transforms import filter_jit
x = jnp.ones(())
if "Codes" in {use!r}:
    class Codes(runtime_checks.Enumeration):
        other = "positive"
def f(x):
    {use}
    return x + 1
try:
    f(x), filter_jit(f)(x)
except RuntimeError:
    pass
import filtered_transforms._jit.check_registry as registry
print(registry.any_checks())
"""
    assert fresh.run(program).strip() == "True"


@pytest.mark.parametrize(
    "value", ["filtered_transforms.filter_jit", "nn_layers.Linear", "filtered_transforms.extend.ω"]
)
def test_pickles_load_where_nothing_was_touched(value: str, fresh: Forks):
    module, _, name = value.rpartition(".")
    data = pickle.dumps(getattr(importlib.import_module(module), name))
    assert fresh.run(f"import pickle; print(pickle.loads({data!r}).__name__)").strip() == name


def test_star_import_and_reload(fresh: Forks):
    program = """
from nn_layers import *
import importlib, nn_layers
before = nn_layers.Linear
assert Linear is before and MLP.__module__ == "nn_layers"
assert importlib.reload(nn_layers).Linear is before and nn_layers.GRUCell is GRUCell
"""
    fresh.run(program)


def test_threads_get_the_same_objects(fresh: Forks):
    program = """
import sys, threading
import equinoctial as eqx
sys.setswitchinterval(1e-6)
names = [*eqx.__all__, *eqx.__all__[::-1]]
gate, seen = threading.Barrier(4), [{} for _ in range(4)]
def ask(i):
    gate.wait()
    for name in names[i * len(names) // 4:] + names:
        assert seen[i].setdefault(name, getattr(eqx, name)) is getattr(eqx, name)
threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert all(s.keys() == seen[0].keys() for s in seen)
assert all(s[n] is seen[0][n] for s in seen for n in s)
"""
    fresh.run(program)


def test_no_module_loads_names_of_its_own_root():
    """So that no name needs itself while it is loaded."""
    for file in sorted(ROOT.glob("packages/*/src/**/*.py")):
        source = next(p for p in file.parents if p.name == "src")
        own = file.relative_to(source).parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == own and not node.level:
                module = importlib.import_module(own)
                for alias in node.names:
                    assert isinstance(getattr(module, alias.name), types.ModuleType), file
