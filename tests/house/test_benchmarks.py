import importlib.util
import json
import subprocess
import sys

import pytest
from sources import ROOT

PATH = ROOT / "benchmarks" / "_table.py"


@pytest.fixture(scope="module", autouse=True)
def beside():
    """Let benchmarks find what lies beside them, as they do as scripts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(PATH.parent)
        yield


@pytest.fixture(scope="module")
def table(beside):
    spec = importlib.util.spec_from_file_location("_table", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def benchmarks(table):
    def missing():
        raise table.Skipped("no such telescope")

    def broken():
        raise ZeroDivisionError("division by zero")

    return {
        "one": lambda: table.Figure(1.5, 0.1, "s", reference=2.0, seeds=(1, 2)),
        "several": lambda: table.Figure([1.0, 2.0]),
        "missing": missing,
        "broken": broken,
    }


def test_figures_are_written_in_the_agreed_form(table, benchmarks, tmp_path, capsys):
    path = tmp_path / "results" / "figures.json"
    assert table.run_benchmarks(benchmarks, ["--only", "one", "several", "--json", str(path)]) == 0
    first, second = json.loads(path.read_text())
    assert first == {
        "id": "one",
        "value": 1.5,
        "error": 0.1,
        "unit": "s",
        "reference": 2.0,
        "device": "cpu",
        "seeds": [1, 2],
        "date": first["date"],
        "commit": first["commit"],
    }
    assert first["date"].startswith("20")
    assert second["value"] == [1.0, 2.0]
    assert capsys.readouterr().out.splitlines()[1].split() == ["one", "1.5", "0.1", "s", "2", "cpu"]


def test_figures_of_another_run_stay_where_they_are_kept(table, benchmarks, tmp_path):
    path = tmp_path / "figures.json"
    for name in ("several", "one"):
        table.run_benchmarks(benchmarks, ["--only", name, "--json", str(path)])
    assert [record["id"] for record in json.loads(path.read_text())] == ["one", "several"]


def test_one_figure_that_breaks_does_not_hide_the_others(table, benchmarks, capsys):
    assert table.run_benchmarks(dict(reversed(benchmarks.items())), []) == 1
    shown = capsys.readouterr().out
    assert "skipped: no such telescope" in shown
    assert "broken: ZeroDivisionError: division by zero" in shown
    assert "1.5" in shown


def test_an_unknown_id_is_refused(table, benchmarks, capsys):
    with pytest.raises(SystemExit):
        table.run_benchmarks(benchmarks, ["--only", "nothing"])
    assert "nothing" in capsys.readouterr().err


def test_the_spread_does_not_follow_one_outlier(table):
    values = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.02, 0.98, 50.0]
    median, spread = table.median_and_spread(values)
    assert median == pytest.approx(1.0)
    assert spread < 0.2


def test_the_benchmark_named_platform_does_not_hide_pythons_module_of_that_name():
    code = f"import sys; sys.path.insert(0, {str(PATH.parent)!r}); import platform; platform.system()"
    subprocess.run([sys.executable, "-c", code], check=True)
