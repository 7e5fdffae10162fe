"""A twin's state: kept, compared, updated, and honest about its health."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics_twins.data import Estimate
from physics_twins.twin import Correlation, Range, TwinState, TwinStateError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def state(**changes) -> TwinState:
    values = {
        "twin": "pulsar",
        "data_id": "crab.fil sha256:ab",
        "parameters": {"dm_pc_cm3": Estimate.of(56.8, 0.1, "pc cm-3")},
        "valid_range": {"dm_pc_cm3": Range(low=40.0, high=72.0)},
        "last_sync": NOW,
    }
    return TwinState(**(values | changes))


def test_state_comes_back_from_its_file_unchanged(tmp_path):
    before = state().updated(
        {"dm_pc_cm3": Estimate.of(56.9, 0.1, "pc cm-3")}, data_id="x", reason="drift", now=NOW
    )
    assert TwinState.load(before.save(tmp_path / "state.json")) == before


def test_what_a_calibration_replaces_stays_in_the_history():
    new = {"dm_pc_cm3": Estimate.of(57.0, 0.1, "pc cm-3")}
    after = state(drift_score=2.0).updated(new, data_id="new.fil", reason="recalibrated", now=NOW)
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


def test_states_are_compared_in_standard_errors():
    other = state(parameters={"dm_pc_cm3": Estimate.of(57.3, 0.0, "pc cm-3")})
    assert state().compare(other)["dm_pc_cm3"] == pytest.approx(5.0)
    assert other.compare(state())["dm_pc_cm3"] == pytest.approx(-5.0)


def test_another_unit_or_twin_is_refused():
    with pytest.raises(TwinStateError, match="dm_pc_cm3 is in 'm', but the state has it in 'pc cm-3'"):
        state().updated({"dm_pc_cm3": Estimate.of(1, 1, "m")}, data_id="x", reason="wrong")
    with pytest.raises(TwinStateError, match="a state of pulsar cannot be compared with one of virgo"):
        state().compare(state(twin="virgo"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"health": "fine"}, "'health'"),
        ({"format": 3}, "newer than 2: update physics-twins"),
        ({"format": 0}, "'format'"),
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
APART = Correlation.of(["width_ms", "scattering_ms"], [[0.01, -0.02], [-0.02, 0.09]])


def test_covariance_holds_errors_and_correlations():
    told = state(parameters=state().parameters | WIDTHS, correlation=APART).covariance()
    assert told.sel(parameter="width_ms", other="scattering_ms") == pytest.approx(-0.02)
    assert told.sel(parameter="scattering_ms", other="scattering_ms") == pytest.approx(0.09)
    assert told.sel(parameter="dm_pc_cm3", other="scattering_ms") == 0


def test_an_old_record_is_read_and_its_parameters_are_independent(tmp_path):
    path = state(parameters=WIDTHS).save(tmp_path / "state.json")
    values = json.loads(path.read_text())
    del values["correlation"]
    path.write_text(json.dumps(values | {"format": 1}))
    old = TwinState.load(path)
    assert (old.correlation, old.format) == (None, 2)
    assert old.covariance().sel(parameter="width_ms", other="scattering_ms") == 0


def test_an_update_keeps_the_correlation_of_what_stays():
    before = state(parameters=state().parameters | WIDTHS, correlation=APART)
    new = {"dm_pc_cm3": Estimate.of(57.0, 0.1, "pc cm-3"), "period_s": Estimate.of(0.7, 1e-4, "s")}
    found = Correlation.of(list(new), [[1.0, 0.5], [0.5, 1.0]])
    after = before.updated(new, data_id="x", reason="y", correlation=found, now=NOW)
    assert after.correlation is not None
    assert after.correlation.over(["dm_pc_cm3", "period_s"])[0, 1] == pytest.approx(0.5)
    assert after.correlation.over(["width_ms", "scattering_ms"])[0, 1] == pytest.approx(-2 / 3)
    assert after.correlation.over(["width_ms", "period_s"])[0, 1] == 0
    width = {"width_ms": Estimate.of(1.1, 0.1, "ms")}
    again = after.updated(width, data_id="x", reason="y", now=NOW)
    assert again.correlation is not None
    assert again.correlation.over(["width_ms", "scattering_ms"])[0, 1] == 0


@pytest.mark.parametrize(
    ("names", "matrix", "words"),
    [
        (["a"], [[1.0, 0.0]], "1 rows of 1"),
        (["a", "a"], [[1.0, 0.0], [0.0, 1.0]], "2 different parameters"),
        (["a", "b"], [[1.0, 0.2], [0.1, 1.0]], "symmetric"),
        (["a", "b"], [[2.0, 0.1], [0.1, 1.0]], "1 on its diagonal"),
        (["a", "b", "c"], [[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]], "negative eigenvalue"),
    ],
)
def test_a_correlation_that_is_none_is_refused(names, matrix, words):
    with pytest.raises(ValueError, match=words):
        Correlation(names=tuple(names), matrix=tuple(map(tuple, matrix)))


def test_a_correlation_of_a_parameter_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="names scattering_ms, width_ms"):
        state(correlation=APART)
