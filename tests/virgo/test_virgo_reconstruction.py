"""Glitches reconstructed from their witness: closer to the truth than a stationary Wiener filter."""

from functools import partial

import numpy as np
import pytest

from physics_twins.virgo import glitches, reconstruction, witnesses
from physics_twins.virgo.sensitivity import noise_asd

RATE_HZ = 1024
CHANNEL = witnesses.VIBRATION[0]


def told(record, families=("blip", "tomte")):
    return reconstruction.reconstruct(record, CHANNEL.asd, "virgo_o4", RATE_HZ, families=families)


def recorded(family, snr, seed, shift=0):
    """Return the whitened strain of a glitch, and its witness with and without noise."""
    rng = np.random.default_rng(seed)
    shape = glitches.draw(family, 1.0, "virgo_o4", RATE_HZ, rng)
    densities = partial(noise_asd, detector="virgo_o4"), CHANNEL.asd
    strain, witness = (reconstruction.whitened(shape, d, "virgo_o4", RATE_HZ) for d in densities)
    witness = snr * witness
    strain, witness = np.roll(strain, shift), np.roll(witness, shift)
    return strain, witness, witness + rng.standard_normal(len(witness))


@pytest.mark.parametrize(
    ("family", "others"),
    [("blip", ()), ("tomte", ("blip",)), ("whistle", ("tomte",)), ("scattered_light", ("blip",))],
)
def test_a_loud_glitch_is_named_and_its_strain_told_to_a_hundredth(family, others):
    strain, witness, record = recorded(family, 40.0, 11)
    found = told(record, (family, *others))
    assert found.family == family
    # With d free numbers the mismatch of the witness is d / (2 S/N^2) on average: 0.2 % for six.
    assert reconstruction.mismatch(found.witness, witness) < 0.01
    # What is quiet in the witness may be loud in the strain.
    assert reconstruction.mismatch(found.strain, strain) < 0.015
    assert found.snr == pytest.approx(40, abs=5)


def test_a_glitch_that_is_late_is_found_late_and_the_other_sign_comes_back():
    strain, witness, record = recorded("blip", 40.0, 3, shift=37)
    for sign in (1, -1):
        found = told(sign * record, ("blip",))
        assert found.shift_s == pytest.approx(37 / RATE_HZ, abs=2.5 / RATE_HZ)
        assert reconstruction.mismatch(found.strain, sign * strain) < 0.02
        assert reconstruction.mismatch(found.witness, sign * witness) < 0.02


def test_given_numbers_draw_the_shape_that_random_ones_drew():
    """A generator's own numbers, handed in, make the same whistle."""
    time_s = np.linspace(-2, 2, 4096)
    uniform = np.random.default_rng(5).uniform(size=(2, 4))
    shapes = glitches.whistle(time_s, glitches.Given(uniform))
    assert shapes.shape == (2, 4096)
    numbers = iter(uniform[1])

    class Drawn:
        def uniform(self, low, high):
            return low + (high - low) * next(numbers)

    np.testing.assert_allclose(shapes[1], glitches.whistle(time_s, Drawn()), atol=1e-9)


def test_nothing_to_compare_with_is_refused():
    with pytest.raises(ValueError, match="families is empty"):
        told(np.zeros(4096), [])
