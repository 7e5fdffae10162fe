"""A subtraction that follows its couplings: it loses little when nothing changes, and stops in time."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from physics_twins.virgo import accounting, cleaning, couplings, witnesses
from physics_twins.virgo.following import PART_S, Follower, follow
from physics_twins.virgo.gains import Gains
from physics_twins.virgo.oracle import oracle
from physics_twins.virgo.parameters import CleaningParameters, VirgoParameters
from physics_twins.virgo.relearning import Relearner
from physics_twins.virgo.simulate import simulate

TWO = dict.fromkeys((c.name for c in couplings.COUPLINGS), 0.0) | {"length": 6.0, "line": 20.0}
PLAIN = {"duration_s": 160.0, "sample_rate_hz": 1024, "glitch_rate_hz": 0.0, "n_signals": 0}
USED = [witnesses.LENGTH.name, witnesses.LINE.name]
HALF = CleaningParameters(train_fraction=0.5)  # faults come after it


def made(**changes):
    stretch = simulate(VirgoParameters(**PLAIN | TWO | changes), seed=31)
    return stretch, cleaning.fit(stretch, HALF, channels=USED)


def account(stretch, subtracted, from_s):
    return accounting.removed_by_band(stretch, subtracted, oracle(stretch), from_s=from_s)


def test_where_nothing_changes_it_removes_nearly_as_much_as_the_filters_alone():
    stretch, wiener = made()
    alone = account(stretch, cleaning.subtract(wiener, stretch), 80.0)
    followed = account(stretch, follow(wiener, stretch), 80.0)
    used = (alone["coupled"] > 3).values  # elsewhere a small part of the noise is a large one of it
    np.testing.assert_allclose(followed["removed"][used], alone["removed"][used], atol=0.01)


def test_a_coupling_that_changes_its_sign_is_subtracted_again_after_some_seconds():
    stretch, wiener = made(sign_flip=True)  # at 96 s
    alone = account(stretch, cleaning.subtract(wiener, stretch), 116.0).sel(band=5)
    followed = account(stretch, follow(wiener, stretch), 116.0).sel(band=5)
    assert float(alone["removed"]) == pytest.approx(-3, abs=0.1)  # amplitude twice, power four times
    assert float(followed["removed"]) > 0.9


def test_a_line_that_stops_is_no_longer_subtracted_where_the_filters_alone_put_it_in():
    stretch, wiener = made(line_stops=True)  # at 88 s
    alone = account(stretch, cleaning.subtract(wiener, stretch), 100.0).sel(band=4)
    followed = account(stretch, follow(wiener, stretch), 100.0).sel(band=4)
    assert float(alone["strain_change"]) > 2
    assert float(followed["strain_change"]) < 0.1


def test_a_gain_that_walks_is_followed_within_its_error_and_one_that_stays_is_not_moved_by_a_burst():
    """Two inputs of noise, one whose gain falls by a third; for a second the strain is much louder."""
    rng, n = np.random.default_rng(5), 512
    edges = np.arange(0, n + 1, 16)
    gains, truth = Gains(2, np.ones(n)), np.ones(2)
    for second in range(200):
        truth[0] = 1 - second / 600
        inputs = np.sqrt(5) * (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n)))
        loud = 30.0 if second == 150 else 1.0
        noise = loud * np.sqrt(0.5) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
        gains.learn(inputs, truth @ inputs + noise, edges)
        gains.wait()
    # Errors: 200 bins a second of power 10. One that knows no speed would lag by 14 s of it, 0.023.
    np.testing.assert_allclose(gains.now, truth, atol=0.01)


def test_a_coupling_that_drifts_far_has_not_jumped():
    """Below half of what was fitted, to be off would explain more than to be as fitted."""
    stretch, wiener = made()
    gain = np.clip(1.4 - stretch["time"].values / 160, 0.4, 0.9)
    stretch["strain"] += (gain - 1) * stretch["length"]
    parts = np.stack(list(cleaning.parts_of(wiener, stretch).values()))
    follower, strain = Follower(wiener), stretch["strain"].values
    for n in range(160):
        second = slice(1024 * n, 1024 * (n + 1))
        follower.push(parts[:, second], strain[second])
    assert not follower.jumps.found


def test_what_is_subtracted_of_held_seconds_and_later_does_not_depend_on_their_strain():
    stretch, wiener = made(coupling_drift=0.2)
    other = stretch.copy(deep=True)
    other["strain"][100 * 1024 : 106 * 1024] *= -3
    held_s = [(100.0, 106.0)]
    first, again = (follow(wiener, each, held_s=held_s) for each in (stretch, other))
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(follow(wiener, other), follow(wiener, stretch))
    # A gain goes on as it went: held seconds are cleaned about as well.
    inside = slice(100 * 1024, 106 * 1024)
    coupled = (stretch["length"] + stretch["line"]).values[inside]
    left = [np.std(coupled - each[inside]) for each in (first, follow(wiener, stretch))]
    assert left[0] < 1.2 * left[1]


def _heard(seed, modes):
    """A filter that lacks what its modes say, and six parts in which its input is heard."""
    rng, n = np.random.default_rng(seed), len(modes)

    def noise(*shape):
        return np.sqrt(0.5) * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))

    told = SimpleNamespace(
        used=[0], inputs=("fringe",), response=np.ones((1, n), complex), modes={"fringe": modes}
    )
    true = 1 + modes @ noise(modes.shape[1])
    return Relearner(cast(Any, told), np.ones(n)), true, [(5 * noise(1, n), noise(n)) for _ in range(6)]


def test_what_was_not_known_of_a_filter_is_learnt_from_a_few_parts():
    frequency_hz = np.arange(400) / 2
    modes = np.exp(-(((frequency_hz[:, None] - np.arange(40, 80, 8)) / 6) ** 2)) + 0j
    relearner, true, parts = _heard(1, modes)
    for spectra, noise in parts:
        relearner.learn(spectra, (true * spectra)[0] + noise)
    spectra = parts[0][0]
    before, after = (
        np.sum(np.abs(true * spectra - each) ** 2) for each in (spectra, relearner.corrected(spectra))
    )
    # Five modes from six parts; each tells one of 400 bins' noise.
    assert after < 0.01 * before


def test_what_is_loud_without_the_input_is_not_learnt_and_a_quiet_input_teaches_nothing():
    """Damage: a glitch a hundred times the noise, at the frequencies of the modes."""
    modes = np.exp(-(((np.arange(400)[:, None] / 2 - np.arange(40, 80, 8)) / 6) ** 2)) + 0j
    relearner, true, parts = _heard(2, modes)
    for n, (spectra, noise) in enumerate(parts):
        relearner.learn(spectra, (true * spectra)[0] + noise * (100 if n == 3 else 1))
    spectra = parts[0][0]
    left = np.sum(np.abs(true * spectra - relearner.corrected(spectra)) ** 2)
    assert left < 0.02 * np.sum(np.abs((true - 1) * spectra) ** 2)
    quiet, _, parts = _heard(3, modes)
    for spectra, noise in parts:
        quiet.learn(1e-3 * spectra, noise)
    np.testing.assert_array_equal(quiet.corrected(spectra), spectra)


def test_it_knows_nothing_of_the_future():
    stretch, wiener = made()
    first = follow(wiener, stretch)
    other = stretch.copy(deep=True)
    other["strain"][100 * 1024 :] *= -3
    again = follow(wiener, other)
    known = slice(int((100 - PART_S) * 1024))
    np.testing.assert_array_equal(again[known], first[known])
    assert not np.array_equal(again, first)


def test_seconds_are_not_made_worse_by_what_breaks_real_systems():
    stretch, wiener = made(sign_flip=True, line_stops=True, coupling_drift=0.2)
    alone, n_frames = accounting.frames_made_worse(
        stretch, cleaning.subtract(wiener, stretch), from_s=80.0
    )
    followed, _ = accounting.frames_made_worse(stretch, follow(wiener, stretch), from_s=80.0)
    assert alone > 0.5 * n_frames
    assert followed < 0.1 * n_frames  # it takes some seconds to notice each of the two
