"""The twin's notebook, run headless: it calibrates, notices a change, and is well again."""

import pytest

from physics_twins import runs
from physics_twins.twin import TwinState


@pytest.mark.slow
def test_twin_is_calibrated_drifts_and_is_calibrated_anew(tmp_path):
    values = {"duration_s": 2.5, "scattering_change_ms": 1.0}
    run = runs.run("pulsar/5_twin", values, out=tmp_path / "run")
    truth = {"dm_pc_cm3": 56.77, "width_ms": 0.8, "scattering_ms": 2.0}
    for name, value in truth.items():
        found = run.metrics[name]
        assert abs(found["value"] - value) < 5 * found["error"], name
    assert run.metrics["n_alarms"] >= 1
    assert 0 < run.metrics["frames_to_alarm"] <= 20
    state = TwinState.load(run.folder / "state.json")
    assert (state.health, state.history[0].health) == ("ok", "drifted")
    assert state.history[0].data_id != state.data_id
    change = (
        state.parameters["scattering_ms"].value - state.history[0].parameters["scattering_ms"].value
    )
    assert change > 0.5
