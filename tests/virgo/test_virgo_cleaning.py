"""The classical subtraction reaches the limit where it can, and what judges it sees stated damage."""

import numpy as np
import pytest

from physics_twins.virgo import accounting, cleaning, couplings, inputs, witnesses
from physics_twins.virgo.oracle import oracle, taps_in_noise
from physics_twins.virgo.parameters import CleaningParameters, VirgoParameters
from physics_twins.virgo.regression import interpolated
from physics_twins.virgo.simulate import simulate

PLAIN = {
    "duration_s": 128.0,
    "sample_rate_hz": 1024,
    "glitch_rate_hz": 0.0,
    "n_signals": 0,
    "n_idle": 2,
}
NONE = dict.fromkeys((c.name for c in couplings.COUPLINGS), 0.0)
USED = [c.name for c in witnesses.COUPLED] + ["ENV_IDLE_0", "ENV_IDLE_1"]


@pytest.fixture(scope="module")
def stretch():
    return simulate(VirgoParameters(**PLAIN), seed=21)


@pytest.fixture(scope="module")
def wiener(stretch):
    return cleaning.fit(stretch, channels=USED)


def test_the_wiener_filter_reaches_the_oracle_on_a_linear_stationary_coupling():
    alone = VirgoParameters(**PLAIN | NONE | {"length": 10.0, "duration_s": 256.0})
    made = simulate(alone, seed=22)
    subtracted = cleaning.subtract(cleaning.fit(made, channels=[witnesses.LENGTH.name]), made)
    account = accounting.removed_by_band(made, subtracted, oracle(made), from_s=192.0)
    used = account["coupled"] > 3  # fitted to 95 windows: 1 / 95 of all power stays behind, at most
    np.testing.assert_allclose(account["removed_limit"], 1, atol=1e-6)
    assert (account["of_limit"][used] > 0.99).all()


def test_the_limit_of_a_noisy_witness_is_the_share_of_its_power_that_is_signal():
    coupling = next(c for c in couplings.COUPLINGS if c.name == "magnetic")
    parameters = VirgoParameters(**PLAIN)
    taps = couplings.response(coupling, parameters, seed=1)
    ratio = np.abs(np.fft.rfft(taps_in_noise(coupling, taps, 1024)) / np.fft.rfft(taps))
    power = witnesses.MAGNET.asd(np.arange(513.0)) ** 2
    np.testing.assert_allclose(ratio, power / (power + witnesses.MAGNET.floor**2), rtol=1e-7)


def test_all_couplings_together_are_removed_close_to_the_limit(stretch, wiener):
    subtracted = cleaning.subtract(wiener, stretch)
    account = accounting.removed_by_band(stretch, subtracted, oracle(stretch), from_s=96.0)
    assert (account["removed_limit"] > 0.999).all()
    # Fitted to 96 s only, 47 windows: each input leaves up to 2 % of all power, which counts where
    # little is coupled.
    assert float(account["of_limit"].min()) > 0.85
    assert float(account["of_limit"].median()) > 0.97
    assert (account["strain_change"] < 0).all()


def test_the_benchs_calibration_is_found_by_its_fringe(wiener):
    # 1.5e-3 would turn the phase of motion of 14 um by a quarter of a radian.
    assert wiener.calibration == pytest.approx(1.013, abs=1e-3)


def test_idle_channels_stay_out_and_without_the_gate_they_get_in(stretch, wiener):
    idle = [wiener.inputs.index(f"ENV_IDLE_{n}") for n in range(2)]
    assert wiener.taken[idle].mean() < 0.005
    ungated = cleaning.fit(stretch, CleaningParameters(gate=0.0), channels=USED)
    assert ungated.taken[idle].mean() > 0.9
    worse = cleaning.subtract(ungated, stretch)
    account = accounting.removed_by_band(stretch, worse, oracle(stretch), from_s=96.0)
    gated = accounting.removed_by_band(
        stretch, cleaning.subtract(wiener, stretch), oracle(stretch), from_s=96.0
    )
    assert float(account["removed"].min()) < float(gated["removed"].min()) - 0.02


def test_gaps_are_found_and_faded_and_short_repeats_are_none():
    record = np.random.default_rng(3).standard_normal(4096) + 5
    record[1000:1300] = 0
    record[2000:2100] = np.nan
    record[3000:3003] = record[3000]
    here = inputs.has_data(record, 1024)
    expected = np.ones(4096, bool)
    expected[1000:1300] = expected[2000:2100] = False
    np.testing.assert_array_equal(here, expected)
    faded = inputs.filled(record - 5, here, 1024)
    assert (faded[~here] == 0).all()
    assert abs(faded[999]) < 0.01 * abs(record[999] - 5)
    np.testing.assert_allclose(faded[500:700], record[500:700] - 5)


def test_a_short_filter_is_known_better_than_its_bins_and_a_little_beyond_them():
    rng, frequency_hz = np.random.default_rng(4), np.arange(0, 200, 0.5)
    truth = 1 / (1 - (frequency_hz / 60) ** 2 + 1j * frequency_hz / 60 / 5)
    known = (frequency_hz > 20) & (frequency_hz < 90)
    errors = 0.3 * (rng.standard_normal(len(truth)) + 1j * rng.standard_normal(len(truth)))
    error = np.full(known.sum(), 0.3 * np.sqrt(2))
    value, sure = interpolated((truth + errors)[known], error, frequency_hz[known], frequency_hz)
    away = np.abs(value - truth)
    assert np.sqrt(np.mean(away[known] ** 2)) < 0.6 * error[0]
    beyond = (frequency_hz >= 90) & (frequency_hz < 93)
    assert (away[beyond] < 0.7 * np.abs(truth[beyond])).all()
    # Its errors are right on average, and at the far end it knows that it knows nothing.
    assert 0.5 < np.sqrt(np.mean((away[known] / sure[known]) ** 2)) < 2
    assert abs(value[-1]) < 0.1
    assert sure[-1] > 3 * sure[known].max()


def test_what_the_oracle_cannot_know_it_does_not_remove():
    asked = PLAIN | NONE | {"seismic": 10.0, "witness_gap_s": 16.0}
    made = simulate(VirgoParameters(**asked), seed=24)
    left = made["seismic"].values - oracle(made)
    gap = slice(int((0.3 * 128 + 1) * 1024), int((0.3 * 128 + 15) * 1024))
    # The channel's mean goes on, which the filter hardly passes.
    np.testing.assert_allclose(left[gap], made["seismic"].values[gap], atol=1e-3 * left[gap].std())
    assert left[80 * 1024 : 120 * 1024].std() < 0.01 * made["seismic"].values.std()


def test_the_account_sees_stated_damage(stretch):
    """Damage: 20 % of a known noise, independent of all, added to the right subtraction."""
    limit = oracle(stretch)
    added = np.sqrt(0.2) * stretch["noise"].values[::-1]
    account = accounting.removed_by_band(stretch, limit + added, limit)
    # With the detector's noise as unit, what is left is 0.2; errors say how well it is known.
    left = account["coupled"] * (1 - account["removed"])
    np.testing.assert_allclose(
        left, 0.2, atol=float((5 * account["coupled"] * account["removed_error"]).max())
    )
    assert float(left.min()) > 0.1


def test_subtracting_nothing_removes_nothing_and_the_wrong_sign_is_worse_by_three(stretch):
    nothing, limit = np.zeros(stretch.sizes["time"]), oracle(stretch)
    account = accounting.removed_by_band(stretch, nothing, limit)
    np.testing.assert_allclose(account["removed"], 0, atol=1e-12)
    np.testing.assert_allclose(account["strain_change"], 0, atol=1e-12)
    wrong = accounting.removed_by_band(stretch, -limit, limit)
    np.testing.assert_allclose(wrong["removed"], -3, atol=0.01)  # amplitude twice, power four times
    n_worse, n_frames = accounting.frames_made_worse(stretch, -limit)
    assert n_worse == n_frames == 126
    assert accounting.frames_made_worse(stretch, nothing) == (0, 126)


def test_errors_of_the_account_cover_what_other_seeds_give():
    values, errors = [], []
    for seed in range(8):
        made = simulate(
            VirgoParameters(**PLAIN | NONE | {"length": 5.0, "duration_s": 32.0}), seed=seed
        )
        half = 0.5 * made["length"].values + 0.3 * made["noise"].values
        account = accounting.removed_by_band(made, half, made["length"].values).isel(band=6)
        values.append(float(account["removed"]))
        errors.append(float(account["removed_error"]))
    # The couplings of the seeds differ too, a little; eight values know their spread to a quarter.
    assert 0.4 < np.std(values, ddof=1) / np.mean(errors) < 2.5
