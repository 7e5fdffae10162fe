"""A twin's state: kept, compared, updated, and honest about its health."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from physics_twins.data import Estimate
from physics_twins.twin import Calibration, TwinState, correlated
from physics_twins.twin.state import TwinStateError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def state(**changes) -> TwinState:
    values = {
        "twin": "pulsar",
        "data_id": "crab.fil sha256:ab",
        "parameters": {"dm_pc_cm3": Estimate.of(56.8, 0.1, "pc cm-3")},
        "valid_range": {"dm_pc_cm3": (40.0, 72.0)},
        "last_sync": NOW,
    }
    return TwinState(**(values | changes))


def updated(before, parameters, *, correlation=None, data_id="x", reason="drift", twin="pulsar"):
    """The state after a calibration."""
    found = Calibration(twin, parameters, correlation or {}, xr.Dataset(), {}, {}, "code")
    return found.update(before, data_id=data_id, reason=reason, now=NOW)


def test_state_comes_back_from_its_file_unchanged(tmp_path):
    before = updated(
        state(parameters=state().parameters | WIDTHS, correlation=APART),
        {"dm_pc_cm3": Estimate.of(56.9, 0.1, "pc cm-3")},
    )
    assert TwinState.load(before.save(tmp_path / "state.json")) == before


def test_what_a_calibration_replaces_stays_in_the_history():
    new = {"dm_pc_cm3": Estimate.of(57.0, 0.1, "pc cm-3")}
    after = updated(state(drift_score=2.0), new, data_id="new.fil")
    assert after.parameters == new
    assert after.data_id == "new.fil"
    assert after.drift_score == 0
    assert after.history[0].parameters == state().parameters
    assert after.history[0].data_id == state().data_id


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({}, "ok"),
        ({"last_sync": NOW - timedelta(days=31)}, "stale"),
        ({"drift_score": 1.0}, "drifted"),
        ({"parameters": {"dm_pc_cm3": Estimate.of(80.0, 0.1, "pc cm-3")}}, "outside range"),
        ({"parameters": {"width_ms": Estimate.of(80.0, 0.1, "ms")}}, "ok"),
    ],
)
def test_health_says_what_is_wrong(changes, health):
    assert state(**changes).checked(now=NOW).health == health


def test_watching_brings_a_stale_twin_up_to_date():
    old = state(last_sync=NOW - timedelta(days=90)).checked(now=NOW)
    assert old.health == "stale"
    assert old.watched(0.2, now=NOW).health == "ok"
    assert old.watched(1.2, "scattering_ms", now=NOW).drifted == "scattering_ms"


def test_another_unit_or_twin_is_refused():
    with pytest.raises(TwinStateError, match="dm_pc_cm3 is in 'm', but the state has it in 'pc cm-3'"):
        updated(state(), {"dm_pc_cm3": Estimate.of(1, 1, "m")})
    with pytest.raises(TwinStateError, match="a calibration of virgo cannot update a state of pulsar"):
        updated(state(), {}, twin="virgo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"health": "fine"}, "'health'"),
        ({"format": 4}, "'format': 4 is not 3: update physics-twins, or calibrate again"),
        ({"format": 2, "surprise": 1}, "'format': 2 is not 3: update"),
        ({"parameters": {"dm": {"value": 1, "low": 2, "high": 3, "unit": "1"}}}, "must lie in 2 to 3"),
        ({"parameters": {"a b": {"value": 1, "low": 1, "high": 1, "unit": "1"}}}, "'parameters.a b"),
        ({"surprise": 1}, "'surprise'"),
        ({"drift_score": -1.0}, "'drift_score'"),
    ],
)
def test_damaged_state_is_refused_with_file_and_field(tmp_path, change, message):
    path = state().save(tmp_path / "state.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TwinStateError, match=message) as caught:
        TwinState.load(path)
    assert str(path) in str(caught.value)


@given(cut=st.integers(0, 600))
def test_state_cut_anywhere_raises_only_its_own_error(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("states") / "state.json"
    text = state().model_dump_json()
    path.write_text(text[: min(cut, len(text) - 1)])
    with pytest.raises(TwinStateError, match=str(path)):
        TwinState.load(path)


def test_estimate_prints_as_many_digits_as_its_error_deserves():
    assert Estimate.of(1.23456, 0.0123, "ms").text == "1.235 +- 0.012 ms"
    assert Estimate(value=0.5, low=0.0, high=0.6, unit="ms").text == "0.50 +0.10 -0.50 ms"


WIDTHS = {"width_ms": Estimate.of(1.0, 0.1, "ms"), "scattering_ms": Estimate.of(2.0, 0.3, "ms")}
APART = correlated(["width_ms", "scattering_ms"], [[0.01, -0.02], [-0.02, 0.09]])


def test_covariance_holds_errors_and_correlations():
    told = state(parameters=state().parameters | WIDTHS, correlation=APART).covariance()
    assert told.sel(parameter="width_ms", other="scattering_ms") == pytest.approx(-0.02)
    assert told.sel(parameter="scattering_ms", other="scattering_ms") == pytest.approx(0.09)
    assert told.sel(parameter="dm_pc_cm3", other="scattering_ms") == 0


def test_an_update_keeps_the_correlation_of_what_stays():
    before = state(parameters=state().parameters | WIDTHS, correlation=APART)
    new = {"dm_pc_cm3": Estimate.of(57.0, 0.1, "pc cm-3"), "period_s": Estimate.of(0.7, 1e-4, "s")}
    found = correlated(list(new), [[1.0, 0.5], [0.5, 1.0]])
    after = updated(before, new, correlation=found)
    told = after.covariance()
    assert told.sel(parameter="dm_pc_cm3", other="period_s") == pytest.approx(0.5 * 0.1 * 1e-4)
    assert told.sel(parameter="scattering_ms", other="width_ms") == pytest.approx(-0.02)
    assert told.sel(parameter="width_ms", other="period_s") == 0
    again = updated(after, {"width_ms": Estimate.of(1.1, 0.1, "ms")})
    assert again.covariance().sel(parameter="width_ms", other="scattering_ms") == 0


@pytest.mark.parametrize(
    ("correlation", "words"),
    [
        ({"width_ms": {"width_ms": 1.0}}, "each pair of different parameters once"),
        ({"width_ms": {"dm_pc_cm3": 0.2}, "dm_pc_cm3": {"width_ms": 0.1}}, "different parameters once"),
        ({"width_ms": {"dm_pc_cm3": 1.2}}, "negative eigenvalue"),
        (
            {"width_ms": {"period_s": 0.9, "scattering_ms": -0.9}, "period_s": {"scattering_ms": 0.9}},
            "negative eigenvalue",
        ),
    ],
)
def test_a_correlation_that_is_none_is_refused(correlation, words):
    period = {"period_s": Estimate.of(0.7, 1e-4, "s")}
    with pytest.raises(ValueError, match=words):
        state(parameters=state().parameters | WIDTHS | period, correlation=correlation)


def test_a_correlation_of_a_parameter_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="names scattering_ms, width_ms"):
        state(correlation=APART)


OF_BEFORE = {
    "format": 2,
    "twin": "pulsar",
    "data_id": "burst.fil",
    "parameters": {
        "width_ms": {"value": 1.0, "low": 0.9, "high": 1.1, "unit": "ms"},
        "scattering_ms": {"value": 2.0, "low": 1.7, "high": 2.3, "unit": "ms"},
    },
    "correlation": {"names": ["width_ms", "scattering_ms"], "matrix": [[1.0, -0.63], [-0.63, 1.0]]},
    "valid_range": {"width_ms": {"low": 0.1, "high": 20.0}},
    "last_sync": "2026-11-01T12:00:00Z",
}


def test_a_record_of_format_2_is_read_with_its_correlation(tmp_path):
    (tmp_path / "state.json").write_text(json.dumps(OF_BEFORE))
    old = TwinState.load(tmp_path / "state.json")
    found = old.covariance().sel(parameter="width_ms", other="scattering_ms")
    assert found == pytest.approx(-0.63 * 0.1 * 0.3)
    assert old.valid_range == {"width_ms": (0.1, 20.0)}


def test_parameters_of_format_1_are_independent_which_is_said(tmp_path):
    first = {name: value for name, value in OF_BEFORE.items() if name != "correlation"}
    (tmp_path / "state.json").write_text(json.dumps(first | {"format": 1}))
    with pytest.warns(UserWarning, match=r"state\.json: its parameters are taken as independent"):
        old = TwinState.load(tmp_path / "state.json")
    assert old.covariance().sel(parameter="width_ms", other="scattering_ms") == 0


def test_a_damaged_record_of_before_is_refused(tmp_path):
    broken = OF_BEFORE | {"correlation": {"names": ["width_ms"], "matrix": "none"}}
    (tmp_path / "state.json").write_text(json.dumps(broken))
    with pytest.raises(TwinStateError, match="state"):
        TwinState.load(tmp_path / "state.json")
