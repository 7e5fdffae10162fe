"""What judges the loss of signals sees stated damage, and a subtraction loses little."""

import numpy as np
import pytest

from physics_twins.virgo import cleaning, couplings, safety, witnesses
from physics_twins.virgo.following import follow
from physics_twins.virgo.parameters import CleaningParameters, VirgoParameters
from physics_twins.virgo.simulate import simulate

ASKED = dict.fromkeys((c.name for c in couplings.COUPLINGS), 0.0) | {"length": 6.0, "duration_s": 96.0}
ASKED |= {"sample_rate_hz": 1024, "glitch_rate_hz": 0.0, "n_signals": 0}


@pytest.fixture(scope="module")
def stretch():
    return simulate(VirgoParameters(**ASKED), seed=61)


@pytest.fixture(scope="module")
def wanted(stretch):
    return safety.injections(stretch, from_s=50.0, seed=1)


def test_injections_lie_in_the_stretch_do_not_overlap_and_have_their_snr(stretch, wanted):
    assert len(wanted) == 5
    ends = [each.first + len(each.strain) for each in wanted]
    assert all(end < later.first for end, later in zip(ends, wanted[1:], strict=False))
    assert ends[-1] < stretch.sizes["time"]
    assert all(8 <= each.snr <= 30 for each in wanted)


def test_a_part_of_the_strain_that_is_subtracted_is_a_part_of_the_snr_lost(stretch, wanted):
    """Damage: 5 % of the strain itself, as through an unsafe channel."""
    found = safety.losses(stretch, wanted, lambda each: 0.05 * each["strain"].values)
    np.testing.assert_allclose(found["snr_change"], -0.05, atol=1e-9)
    np.testing.assert_allclose(found["match"], 1, atol=1e-9)


def test_a_subtraction_that_does_not_look_at_the_strain_loses_nothing(stretch, wanted):
    wiener = cleaning.fit(
        stretch, CleaningParameters(train_fraction=0.5), channels=[witnesses.LENGTH.name]
    )
    found = safety.losses(stretch, wanted, lambda each: cleaning.subtract(wiener, each))
    np.testing.assert_allclose(found["snr_change"], 0, atol=1e-12)


def test_one_that_follows_loses_little(stretch, wanted):
    wiener = cleaning.fit(
        stretch, CleaningParameters(train_fraction=0.5), channels=[witnesses.LENGTH.name]
    )
    found = safety.losses(stretch, wanted, lambda each: follow(wiener, each))
    assert float(np.abs(found["snr_change"]).max()) < 0.02
    assert float(found["match"].min()) > 0.999
