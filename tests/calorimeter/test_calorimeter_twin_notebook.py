"""The twin's notebook, run headless: it finds what was hidden, notices an ageing, and is well again."""

import pytest
import xarray as xr

from physics_twins import runs
from physics_twins.twin import TwinState


@pytest.mark.slow
def test_the_twin_finds_what_was_hidden_sees_it_age_and_is_audited(tmp_path):
    values = {"n_measured": 150, "n_watched": 60, "n_audited": 60, "n_asked": 20, "beam_max_gev": 5.0}
    run = runs.run("calorimeter/5_twin", values, out=tmp_path / "run")
    metrics = run.metrics
    truth = {"energy_scale": 0.96, "resolution": 0.01, "absorber_mm": 1.47}
    for name, value in truth.items():
        assert abs(metrics[name]["value"] - value) < 5 * metrics[name]["error"], name
    assert metrics["n_false_alarms"] == 0
    assert metrics["showers_to_alarm"] <= 60
    state = TwinState.load(run.folder / "state.json")
    assert (state.health, state.history[0].health) == ("ok", "drifted")
    assert "energy_scale drifted" in state.history[0].reason
    after = state.parameters["energy_scale"]
    assert abs(after.value - 0.96 * 0.98) < 5 * after.error
    with xr.open_dataset(run.folder / "audit.nc") as audit:
        # A flow whose response is 5 % off is rejected by 43 showers (`audit_false_alarm_showers`).
        assert audit.attrs["verdict"] == "not rejected after 60 showers"
