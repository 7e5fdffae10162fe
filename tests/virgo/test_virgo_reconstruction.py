"""Glitches reconstructed from their witness: closer to the truth than a stationary Wiener filter."""

import numpy as np
import pytest

from physics_twins.virgo import glitches, reconstruction, witnesses

RATE_HZ = 1024
CHANNEL = witnesses.VIBRATION[0]


@pytest.fixture(scope="module")
def families():
    chosen = ("blip", "tomte", "koi_fish")
    options = {"n_drawn": 300, "n_groups": 2, "families": chosen}
    return reconstruction.priors(CHANNEL, "virgo_o4", RATE_HZ, **options)


def recorded(family, snr, seed, shift=0):
    """Return the whitened strain of a glitch, and its witness with and without noise."""
    rng = np.random.default_rng(seed)
    shape = glitches.draw(family, 1.0, "virgo_o4", RATE_HZ, rng)
    strain, witness = reconstruction.whitened_pair(shape, CHANNEL, "virgo_o4", RATE_HZ)
    witness = snr * witness / np.linalg.norm(witness)
    strain, witness = np.roll(strain, shift), np.roll(witness, shift)
    return strain, witness, witness + rng.standard_normal(len(witness))


def test_whitening_keeps_the_matched_filters_snr():
    shape = glitches.draw("blip", 12.0, "virgo_o4", RATE_HZ, np.random.default_rng(1))
    strain, _ = reconstruction.whitened_pair(shape, CHANNEL, "virgo_o4", RATE_HZ)
    assert np.linalg.norm(strain) == pytest.approx(12.0, rel=1e-3)


@pytest.mark.parametrize("family", ["blip", "tomte", "koi_fish"])
def test_a_loud_glitch_is_named_and_reconstructed_better_than_by_wieners_filter(families, family):
    ours, simple, named = [], [], []
    for seed in range(4):
        strain, _, record = recorded(family, 30.0, 10 + seed)
        found = reconstruction.reconstruct(record, families, RATE_HZ)
        ours.append(reconstruction.mismatch(found.strain, strain))
        simple.append(reconstruction.mismatch(reconstruction.wiener(record, families, 30.0), strain))
        named.append(found.family == family)
    # With d free numbers the mismatch is d / (2 S/N^2) or more: 0.6 % for ten.
    assert np.median(ours) < 0.04
    assert np.median(ours) < 0.5 * np.median(simple)
    assert sum(named) >= 3


def test_a_glitch_that_is_late_is_found_late(families):
    strain, witness, record = recorded("blip", 40.0, 3, shift=37)
    found = reconstruction.reconstruct(record, families, RATE_HZ)
    assert found.shift_s == pytest.approx(37 / RATE_HZ, abs=2.5 / RATE_HZ)
    assert reconstruction.mismatch(found.strain, strain) < 0.02
    assert reconstruction.mismatch(found.witness, witness) < 0.02


def test_louder_glitches_are_reconstructed_better(families):
    medians = []
    for snr in (10.0, 40.0):
        values = []
        for seed in range(4):
            strain, _, record = recorded("tomte", snr, 30 + seed)
            found = reconstruction.reconstruct(record, families, RATE_HZ)
            values.append(reconstruction.mismatch(found.strain, strain))
        medians.append(np.median(values))
    assert medians[1] < 0.5 * medians[0]


def test_nothing_to_compare_with_is_refused():
    with pytest.raises(ValueError, match="families is empty"):
        reconstruction.reconstruct(np.zeros(4096), [], RATE_HZ)
