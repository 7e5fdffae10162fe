"""Channels are chosen by what they tell of the strain; injections find those that carry it."""

import numpy as np
import pytest

from physics_twins.virgo import selection, witnesses
from physics_twins.virgo.parameters import CleaningParameters, VirgoParameters
from physics_twins.virgo.simulate import simulate

ASKED = {
    "duration_s": 128.0,
    "sample_rate_hz": 1024,
    "glitch_rate_hz": 0.02,
    "n_signals": 0,
    "unknown": 3.0,
    "n_idle": 8,
    "n_counters": 1,
    "n_dead": 1,
}
UNSAFE = ("CAL_NE_MIR_Z", "CAL_WE_MIR_Z")


@pytest.fixture(scope="module")
def selected():
    stretch = simulate(VirgoParameters(**ASKED), seed=41)
    return selection.select(stretch, CleaningParameters(train_fraction=0.9))


def test_channels_that_reach_the_strain_are_chosen_and_idle_ones_and_counters_are_not(selected):
    coupled = {channel.name for channel in witnesses.COUPLED}
    assert coupled <= set(selected.channels)
    extra = set(selected.channels) - coupled
    assert not any(name.startswith(("ENV_IDLE", "DAQ", "ENV_DEAD")) for name in extra)


def test_couplings_of_second_order_are_found_among_all_products(selected):
    pairs = {frozenset(pair) for pair in selected.products}
    for wanted in ({"ENV_MIC_CEB"}, {"ENV_MAINS", "ASC_DIFF_TX"}, {"INJ_BPC_TX", "ASC_DIFF_TX"}):
        assert frozenset(wanted) in pairs


def test_p_values_of_channels_that_have_nothing_to_do_with_a_target_are_even():
    rng = np.random.default_rng(42)
    rate_hz, n = 256.0, 256 * 128
    slow = np.cumsum(rng.standard_normal((100, n)), axis=1)  # red ones too
    candidates = {f"white {i}": rng.standard_normal(n) for i in range(200)}
    candidates |= {f"red {i}": series for i, series in enumerate(slow)}
    found = selection.p_values_of(candidates, rng.standard_normal(n), np.ones(n, bool), rate_hz)
    p_values = np.array(list(found.values()))
    # The bound over groups makes it a little less than even. Five standard deviations of 300 draws.
    assert np.mean(p_values < 0.1) == pytest.approx(0.09, abs=5 * np.sqrt(0.09 * 0.91 / 300))
    assert p_values.min() > 1e-5


def test_two_lines_that_keep_their_phase_by_accident_do_not_count():
    """Damage if they did: a counter's 100 Hz would be chosen beside the mains' second harmonic."""
    rng, rate_hz, n = np.random.default_rng(43), 512.0, 512 * 200
    time_s = np.arange(n) / rate_hz
    wander = 2 * np.pi * (100 * time_s + 0.3 * np.sin(2 * np.pi * time_s / 60) + 0.006 * time_s)
    target = rng.standard_normal(n) + np.cos(wander)
    line = {"line": np.cos(2 * np.pi * 100 * time_s) + 1e-2 * rng.standard_normal(n)}
    assert selection.p_values_of(line, target, np.ones(n, bool), rate_hz)["line"] > 0.01
    same = {"line": np.cos(wander + 1.0) + 1e-2 * rng.standard_normal(n)}
    assert selection.p_values_of(same, target, np.ones(n, bool), rate_hz)["line"] < 1e-6


def test_channels_that_carry_strain_are_found_by_signals_that_were_injected():
    loud = {"n_signals": 8, "signal_snr": 60.0, "mass_1_msun": 20.0, "mass_2_msun": 20.0}
    stretch = simulate(VirgoParameters(**ASKED | loud | {"n_unsafe": 2}), seed=44)
    found = selection.unsafe_channels(stretch, stretch["signals"].values)
    assert set(found) == set(UNSAFE)
    renamed = stretch.assign_coords(channel=[f"X{i}" for i in range(stretch.sizes["channel"])])
    names = stretch["channel"].values
    expected = {f"X{list(names).index(name)}" for name in UNSAFE}
    assert set(selection.unsafe_channels(renamed, renamed["signals"].values)) == expected
    elsewhere = np.roll(stretch["signals"].values, 9 * 1024)  # signals that were not injected then
    assert not selection.unsafe_channels(stretch, elsewhere)


def test_where_no_channel_reaches_the_strain_none_is_chosen():
    rng = np.random.default_rng(44)
    made = simulate(VirgoParameters(duration_s=32.0, sample_rate_hz=1024), seed=41)
    idle = made.sel(channel=["ENV_IDLE_0"]).assign(strain=("time", rng.standard_normal(32 * 1024)))
    found = selection.select(idle, CleaningParameters(train_fraction=1.0))
    assert (found.channels, found.products) == ((), ())
