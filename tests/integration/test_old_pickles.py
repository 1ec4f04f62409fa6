"""Pickles written before the files stood in folders load, and hold what the code makes now."""

import importlib.util
import pickle
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jax.numpy as jnp
import pytest

import equinoctial as eqx

DATA = Path(__file__).parent / "data"
_spec = importlib.util.spec_from_file_location("old_pickle_cases", DATA / "old_pickle_cases.py")
cases = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = cases  # where the pickles look for functions
_spec.loader.exec_module(cases)

OLD = pickle.loads((DATA / "old_pickles.pkl").read_bytes())
WARNS = pytest.mark.filterwarnings("ignore:`BatchNorm` without `mode`")
CALLED = ["linear", "mlp", "weight_norm", "sequential", "method_mlp", "jit", "noinline"]
CALLED += ["checkpoint", "vmap", "custom_vjp", "custom_jvp", "method_linear", "jit_of_layer"]


@pytest.mark.parametrize("name", OLD)
def test_loads_as_what_is_made_now(name: str):
    assert type(pickle.loads(OLD[name])).__name__


@WARNS
@pytest.mark.parametrize("name", [n for n in OLD if n in cases.LAYERS and n != "state_index"])
def test_a_layer_equals_the_new_one(name: str):
    old, new = pickle.loads(OLD[name]), cases.CASES[name]()
    if isinstance(new, tuple):  # a state: its indices are other ones
        old, new = eqx.filter(old[0], eqx.is_array), eqx.filter(new[0], eqx.is_array)
    assert eqx.tree_equal(old, new, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CALLED)
def test_calls_give_the_same(name: str):
    old, new = pickle.loads(OLD[name]), cases.CASES[name]()
    assert jnp.allclose(old(cases.X), new(cases.X))


@pytest.mark.parametrize("name", [n for n in OLD if n.startswith("where_") and "error" not in n])
def test_selectors_are_the_same(name: str):
    assert repr(pickle.loads(OLD[name])) == repr(cases.CASES[name]())


@pytest.mark.parametrize(
    "package", ["tree_surgery", "filtered_transforms", "runtime_checks", "nn_layers"]
)
def test_tables_and_modules_agree(package: str):
    for old, home in import_module(f"{package}._moved").MOVED.items():
        module, name = old.split(".")
        there = getattr(import_module(home.partition(":")[0], package), home.partition(":")[2])
        assert getattr(sys.modules[f"{package}.{module}"], name) is there
        assert not hasattr(sys.modules[f"{package}.{module}"], "__file__")  # hides no real one
        assert not hasattr(sys.modules[f"{package}.{module}"], "not_there")


def test_loads_where_nothing_was_touched():
    program = "import pickle, sys; print(type(pickle.loads(bytes.fromhex(sys.argv[1]))).__name__)"
    done = subprocess.run([sys.executable, "-c", program, OLD["mlp"].hex()], capture_output=True)
    assert done.stdout.split() == [b"MLP"], done.stderr


def test_a_layer_written_now_names_public_classes():
    written = pickle.dumps(cases.LAYERS["linear"]())
    assert not re.search(rb"(nn_layers|pytree_module|tree_surgery)\._", written)
