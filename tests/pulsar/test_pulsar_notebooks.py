"""The pulsar's notebooks, run headless: their results, not only that they run."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from physics_twins import runs
from physics_twins.data import find_data_file
from physics_twins.parameters import ParameterError
from physics_twins.pulsar.files import FilterbankReader

COLUMNS = ["dm_pc_cm3", "time_s", "snr", "width_s", "label", "probability"]
REAL_FILE = find_data_file("pulsar/askap_frb_28.fil")


@pytest.mark.slow
def test_simulate_leaves_an_observation_and_a_file_that_agree(tmp_path):
    run = runs.run("pulsar/1_simulate", {"duration_s": 0.6}, out=tmp_path / "run")
    assert run.status == "complete"
    observation = xr.open_dataset(run.folder / "observation.nc")
    with FilterbankReader(run.folder / "observation.fil") as file:
        np.testing.assert_array_equal(file.dataset()["data"], observation["data"])
    assert observation.attrs["duration_s"] == 0.6
    assert run.metrics["n_pulses"] == observation.sizes["pulse"] >= 1
    truth = pd.read_csv(run.folder / "stream.fil.truth.csv")
    assert {"pulse", "nbrfi", "bbrfi", "other"} == set(truth["label"])
    assert (run.folder / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_infer_finds_what_was_simulated_and_nothing_else(tmp_path):
    values = {"duration_s": 2.0, "dm_min_pc_cm3": 40.0, "dm_max_pc_cm3": 70.0, "on": "threads"}
    run = runs.run("pulsar/4_infer", values, out=tmp_path / "run")
    table = pd.read_csv(run.folder / "candidates.csv")
    assert list(table.columns) == COLUMNS
    metrics = run.metrics
    assert metrics["found"] == metrics["injected"] >= 4
    assert metrics["invented"] == 0
    assert np.abs(table.loc[table["label"] == "pulse", "dm_pc_cm3"] - 56.77).max() < 1
    provenance = json.loads((run.folder / "provenance.json").read_text())
    assert provenance["status"] == "complete"


@pytest.mark.slow
@pytest.mark.skipif(REAL_FILE is None, reason="twins data fetch pulsar/askap_frb_28.fil")
def test_infer_finds_the_burst_in_the_real_file(tmp_path):
    values = {"filterbank_path": str(REAL_FILE), "dm_max_pc_cm3": 600.0, "on": "threads"}
    run = runs.run("pulsar/4_infer", values, out=tmp_path / "run")
    assert run.metrics["n_pulses"] == 1
    assert run.metrics["snr"] >= 15
    assert run.metrics["dm_pc_cm3"] == pytest.approx(475.5, abs=2)
    assert run.metrics["time_s"] == pytest.approx(2.028, abs=0.005)
    (source,) = run.provenance["inputs"]
    assert source["sha256"].startswith("9bd705b7")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dm_max_pc_cm3": 99999.0}, "dm_max_pc_cm3 = 99999.0 pc cm-3 is outside its range"),
        ({"dm_max": 600.0}, "did you mean 'dm_max_pc_cm3'"),
        ({"dm_min_pc_cm3": 200.0}, "must be below"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(tmp_path, values, message):
    with pytest.raises(ParameterError, match=message):
        runs.run("pulsar/4_infer", values, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_file_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match=r"filterbank_path.*nowhere\.fil"):
        runs.run("pulsar/4_infer", {"filterbank_path": "nowhere.fil"}, out=tmp_path / "run")
