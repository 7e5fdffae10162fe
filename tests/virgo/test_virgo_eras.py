"""Filters that learn across a change of their coupling: the change is found, and one era is learnt."""

import numpy as np
import pytest

from physics_twins.virgo import accounting, cleaning, couplings, eras, inputs, witnesses
from physics_twins.virgo.following import follow
from physics_twins.virgo.oracle import oracle
from physics_twins.virgo.parameters import HARD, CleaningParameters, VirgoParameters
from physics_twins.virgo.simulate import simulate

TWO = dict.fromkeys((c.name for c in couplings.COUPLINGS), 0.0) | {"length": 6.0, "magnetic": 4.0}
PLAIN = {"duration_s": 160.0, "sample_rate_hz": 1024, "glitch_rate_hz": 0.0, "n_signals": 0}
USED = [witnesses.LENGTH.name, witnesses.MAGNET.name]
ALL = CleaningParameters(train_fraction=1.0)
BROKEN = {"sign_flip": True, "delay_jump_ms": 4.0}  # at 96 and 80 s


def changes(**asked):
    stretch = simulate(VirgoParameters(**PLAIN | TWO | asked), seed=31)
    known = inputs.known(stretch, USED)
    return eras.changes(known.series, stretch["strain"].values, known.whole, 1024.0)


def test_a_flipped_sign_and_a_delay_are_placed_within_a_block():
    found = changes(**BROKEN)
    assert found == {
        "LSC_MICH": pytest.approx(96, abs=eras.BLOCK_S),
        "ENV_MAG_N": pytest.approx(80, abs=eras.BLOCK_S),
    }


def test_couplings_that_stay_or_only_drift_have_one_era():
    assert changes() == {}
    assert changes(coupling_drift=0.2) == {}


def test_filters_fitted_across_changes_subtract_as_well_as_those_that_saw_none():
    """Without eras the filters would be right nowhere: most of the power would stay."""
    removed = []
    for asked in ({}, BROKEN):
        stretch = simulate(VirgoParameters(**PLAIN | TWO | asked), seed=31)
        subtracted = follow(cleaning.fit(stretch, ALL, channels=USED), stretch)
        account = accounting.removed_by_band(stretch, subtracted, oracle(stretch), from_s=110.0)
        removed.append(account["removed"].values[account["coupled"].values > 3])
    # Two thirds of the windows are left to learn from.
    np.testing.assert_allclose(removed[1], removed[0], atol=0.02)
    assert removed[1].min() > 0.9


def test_faults_of_the_hard_set_come_at_times_of_their_own_all_over_the_stretch():
    kept = {"duration_s": 64.0, "witness_gap_s": 4.0, "loop_open_s": 4.0, "missing_s": 4.0}
    made = [simulate(VirgoParameters(**HARD | kept), seed=seed) for seed in range(8)]
    starts = np.array([each["fault_start"].values for each in made])  # (seed, fault)
    assert starts.shape == (8, 6)
    assert len(np.unique(starts)) == starts.size
    assert (starts < 32).any(axis=0).all()
    assert (starts > 32).any(axis=0).all()
    assert starts.min() > 0.05 * 64
    assert max(each["fault_stop"].max().item() for each in made) <= 64
