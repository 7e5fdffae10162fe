"""How much of what was put in the search finds."""

import math

import pytest

from physics_twins.data import plain_metrics
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.recovery import recovery

QUIET = ObservationParameters(
    n_channels=32, duration_s=1.5, carrier_rate_hz=0.0, impulse_rate_hz=0.0, energy_scatter=0.0
)
SEARCH = SearchParameters(dm_min_pc_cm3=40.0, dm_max_pc_cm3=70.0, dm_loss=0.2)


def recall_error(n_found, n):
    """Error of a ratio by Agresti and Coull (1998): two found and two missed are added."""
    ratio = (n_found + 2) / (n + 4)
    return math.sqrt(ratio * (1 - ratio) / (n + 4))


@pytest.fixture(scope="module")
def bright():
    return recovery(QUIET.replace(fluence_jy_ms=2.0), SEARCH, seed=3)


@pytest.fixture(scope="module")
def dark():
    return recovery(QUIET.replace(fluence_jy_ms=0.0), SEARCH, seed=3)


def test_bright_pulses_are_all_found(bright):
    assert bright["n_sought"] >= 4
    assert bright["n_found"] == bright["n_sought"]
    assert bright["recall"]["value"] == 1.0


def test_finding_all_does_not_make_the_recall_certain(bright):
    n = bright["n_sought"]
    assert bright["recall"]["error"] == pytest.approx(recall_error(n, n))
    assert bright["recall"]["error"] > 0.1


def test_a_boxcar_keeps_less_than_all_of_the_ideal_snr(bright):
    # 0.943 is the limit on a Gaussian; of that the grid of DMs may lose up to 0.2.
    ratio = bright["snr_ratio"]
    assert 0.943 * 0.8 < ratio["value"] < 0.943 + 5 * ratio["error"]


def test_without_pulses_nothing_is_found(dark):
    assert dark["n_found"] == 0
    assert dark["n_false"] == 0
    assert (dark["n_sought"] > 0, dark["recall"]["value"]) == (True, 0.0)


def test_what_cannot_be_measured_is_still_a_metric(dark):
    assert plain_metrics(dark)["snr_ratio"]["value"] is None


@pytest.mark.parametrize("fluence_jy_ms", [0.15, 0.3])
def test_faint_pulses_are_found_in_part(fluence_jy_ms):
    found = recovery(QUIET.replace(fluence_jy_ms=fluence_jy_ms), SEARCH, seed=4)
    n, n_found = found["n_sought"], found["n_found"]
    assert 0 <= n_found <= n
    assert found["recall"]["value"] == n_found / n
    assert found["recall"]["error"] == pytest.approx(recall_error(n_found, n))


def test_the_same_seed_gives_the_same_and_an_observation_too_short_for_its_delay_seeks_nothing():
    short = QUIET.replace(fluence_jy_ms=5.0, duration_s=0.3, dm_pc_cm3=3000.0)
    first, again = (recovery(short, SEARCH, seed=1) for _ in range(2))
    assert plain_metrics(first) == plain_metrics(again)
    assert (first["n_sought"], first["n_found"]) == (0, 0)
    assert plain_metrics(first)["recall"]["value"] is None


def test_a_real_file_is_refused():
    with pytest.raises(ValueError, match="filterbank_path must be empty"):
        recovery(QUIET, SEARCH.replace(filterbank_path="x.fil"))
