"""What the benchmark keeps, and what it calls worse."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results = _module("results")
table = _module("table")


def result(case: str, to_equinox: float | None, **other: Any) -> dict[str, Any]:
    ratios = {} if to_equinox is None else {"Equinox": to_equinox}
    return {
        "file": "cases_a",
        "case": case,
        "seconds": {"ours": 2e-6},
        "ratios": ratios | other.pop("ratios", {}),
        "spread": [],
        "limits": {"Equinox": 0.5},
        "verdict": "ok",
    } | other


def test_worse_is_a_ratio_that_grew_by_more_than_a_tenth():
    before = result("f", 0.5, ratios={"plain JAX": 1.0}) | {"seconds": {"ours": 1e-6}}
    assert results.worse(result("f", 0.54, ratios={"plain JAX": 1.09}), before) == []
    assert results.worse(result("f", 0.56, ratios={"plain JAX": 1.2}), before) == [
        "Equinox",
        "plain JAX",
    ]
    # A side that only one of them has is not compared, and seconds are not.
    assert results.worse(result("f", None, ratios={"flax.nnx": 9.0}), before) == []


def test_a_part_that_is_measured_anew_leaves_the_rest(tmp_path: Path):
    file = tmp_path / "latest.json"
    results.write(file, [result("f", 0.5), result("g", 0.6)], "equinox 1")
    results.write(file, [result("g", 0.7), result("h", 0.1)], "equinox 1")
    found = {each["case"]: each["ratios"]["Equinox"] for each in results.read(file)}
    assert found == {"f": 0.5, "g": 0.7, "h": 0.1}
    assert all(each["date"] and each["machine"] for each in results.read(file))


def test_a_peer_of_few_rows_has_no_column():
    rows = [result("f", 0.5), result("g", 0.6), result("h", 0.7, ratios={"plain JAX": 1.25})]
    rows[1] |= {"verdict": "MISSED"}
    head, _, f, g, h = table.one(rows).splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "case",
        "ours",
        "to Equinox",
        "beside",
        "limit",
    ]
    assert "1.25 of plain JAX" in h and "plain JAX" not in f
    assert "0.5 MISSED" in g and "MISSED" not in f
