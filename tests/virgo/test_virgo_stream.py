"""A stream gives what the whole stretch gives, refuses what does not follow, certifies each second."""

import numpy as np
import pytest

from physics_twins.virgo import cleaning, couplings, vetoes, witnesses
from physics_twins.virgo.certificate import Certificate
from physics_twins.virgo.following import follow
from physics_twins.virgo.parameters import CleaningParameters, VetoParameters, VirgoParameters
from physics_twins.virgo.simulate import GPS_START_S, simulate
from physics_twins.virgo.stream import FrameError, Stream, frames

SOME = {"length": 6.0, "line": 20.0, "fringe": 4.0, "jitter": 3.0}
ASKED = dict.fromkeys((c.name for c in couplings.COUPLINGS), 0.0) | SOME
ASKED |= {"duration_s": 96.0, "sample_rate_hz": 1024, "glitch_rate_hz": 0.0, "n_signals": 0}
FAULTS = {"sign_flip": True, "line_stops": True, "missing_s": 6.0}
USED = [witnesses.LENGTH.name, witnesses.LINE.name, witnesses.BENCH.name, witnesses.BEAM.name]
USED += [witnesses.ANGLE.name]


@pytest.fixture(scope="module")
def stretch():
    return simulate(VirgoParameters(**ASKED | FAULTS), seed=51)


@pytest.fixture(scope="module")
def wiener(stretch):
    settings = CleaningParameters(train_fraction=0.5, filter_s=2.0)
    return cleaning.fit(stretch, settings, channels=USED)


@pytest.fixture(scope="module")
def seconds(stretch, wiener):
    stream = Stream(wiener, unsafe=("CAL",), signal_loss=(0.01, 99.0))
    found = [stream.push(frame) for frame in frames(stretch)]
    return [second for second in [*found, *stream.finish()] if second is not None]


def test_a_stream_subtracts_what_the_whole_stretch_subtracts(stretch, wiener, seconds):
    streamed = np.concatenate([second.subtracted for second in seconds])
    whole = follow(wiener, stretch)
    assert len(streamed) == len(whole) == stretch.sizes["time"]
    # Both sum the same products, in other orders; at the ends the whole stretch is mirrored.
    inside = slice(8 * 1024, -8 * 1024)
    np.testing.assert_allclose(streamed[inside], whole[inside], rtol=0, atol=1e-6 * whole.std())


def test_what_comes_out_adds_up_to_what_went_in(stretch, seconds):
    joined = np.concatenate([second.strain + second.subtracted for second in seconds])
    np.testing.assert_allclose(joined, stretch["strain"].values, rtol=0, atol=1e-34)
    assert [second.gps_start_s for second in seconds] == [GPS_START_S + n for n in range(96)]


def test_seconds_that_are_held_say_so_and_are_those_of_the_whole_stretch(stretch, wiener):
    short = stretch.isel(time=slice(0, 40 * 1024))
    seconds = list(Stream(wiener).replay(short, held_s=[(20.0, 24.0)]))
    assert [n for n, second in enumerate(seconds) if second.certificate.held] == [20, 21, 22, 23]
    assert "Held: nothing was learnt" in seconds[21].certificate.in_words()
    streamed = np.concatenate([second.subtracted for second in seconds])
    whole = follow(wiener, short, held_s=[(20.0, 24.0)])
    inside = slice(8 * 1024, -8 * 1024)
    np.testing.assert_allclose(streamed[inside], whole[inside], rtol=0, atol=1e-6 * whole.std())


def test_frames_have_no_edges_in_what_is_subtracted(wiener, seconds):
    """Damage: a gain that changes by 10 % at each edge would stand out as a step between frames."""
    streamed = np.concatenate([second.subtracted for second in seconds[10:40]])
    steps = np.abs(np.diff(streamed, n=2))
    at_edges = steps[1023::1024]
    assert np.median(at_edges) < 2 * np.median(steps)


def test_a_frame_that_does_not_follow_is_refused_by_name(stretch, wiener):
    first, second, third = list(frames(stretch))[:3]
    stream = Stream(wiener)
    stream.push(first)
    with pytest.raises(FrameError, match=r"leaves a gap before it: expected GPS 1400000001\.0"):
        stream.push(third)
    with pytest.raises(FrameError, match="overlaps the one before it"):
        stream.push(first)
    with pytest.raises(FrameError, match="512 samples at 1024 Hz, expected 1024"):
        stream.push(second.isel(time=slice(0, 512)))
    with pytest.raises(FrameError, match="512 samples at 512 Hz"):
        stream.push(second.isel(time=slice(0, None, 2)))
    with pytest.raises(FrameError, match="lacks the channel LSC_MICH"):
        stream.push(second.drop_sel(channel="LSC_MICH"))
    broken = second.copy(deep=True)
    broken["strain"][7] = np.nan
    with pytest.raises(FrameError, match="not a number in 1 samples of the frame at GPS 1400000001"):
        stream.push(broken)
    stream.push(second)  # none of them has changed the stream


def test_a_frame_without_a_channel_of_the_veto_is_refused_and_a_second_tells_what_is_vetoed(
    stretch, wiener
):
    """A burst is put into an accelerometer that watches nothing else; every one in it is vetoed."""
    learnt = {"significance": (9.0,), "use": (1.0,), "weights": (3.0, 1.0, 0.9)}
    veto = vetoes.Veto(channels=("ENV_ACC_DET",), **learnt, settings=VetoParameters())
    heard = stretch.isel(time=slice(0, 24 * 1024)).copy(deep=True)
    time_s = heard["time"].values
    burst = 2 * np.exp(-(((time_s - 15.4) / 0.02) ** 2)) * np.sin(2 * np.pi * 100 * time_s)
    heard["witness"].loc["ENV_ACC_DET"] += burst  # ten times its noise
    stream = Stream(wiener, veto=(veto, 0.5))
    with pytest.raises(FrameError, match="lacks the channel ENV_ACC_DET that its veto needs"):
        stream.push(next(frames(heard.drop_sel(channel="ENV_ACC_DET"))))
    found = [second for frame in frames(heard) if (second := stream.push(frame))]
    told = [second.certificate for second in [*found, *stream.finish()]]
    assert [each.vetoed is None for each in told[:5]] == [True] * 4 + [False]
    assert [n for n, each in enumerate(told) if each.vetoed] == [15]
    (span,) = told[15].vetoed
    assert span.start_s < 0.4 < span.stop_s < 0.5
    assert "Vetoed: 0.3" in told[15].in_words()
    assert Certificate.model_validate_json(told[15].model_dump_json()) == told[15]


def test_a_certificate_tells_what_happened_and_survives_json(seconds, wiener):
    certificates = [second.certificate for second in seconds]
    again = Certificate.model_validate_json(certificates[40].model_dump_json())
    assert again == certificates[40]
    assert again.unsafe_channels == ("CAL",)
    assert again.fringe_calibration == pytest.approx(1.013, abs=5e-3)
    said = " ".join(action for each in certificates for action in each.actions)
    assert "LSC_MICH jumped 57.6" in said  # 0.6 of 96 s
    assert "LSC_LINE jumped 52.8" in said  # 0.55 of 96 s
    late = {cause.input: cause for cause in certificates[90].causes}
    assert late["LSC_MICH"].gain == pytest.approx(-1, abs=0.2)
    assert late["LSC_LINE"].gain == late["LSC_LINE"].share == 0
    gap = {cause.input: cause.present for cause in certificates[69].causes}  # from 67.2 s on
    assert not gap["INJ_BPC_TX"]
    assert gap["LSC_MICH"]


def test_bands_of_a_certificate_reach_what_the_witnesses_allow_on_average(seconds):
    bands = [second.certificate.bands for second in seconds[20:48]]
    removed = np.array([[band.removed for band in each] for each in bands]).mean(axis=0)
    allowed = np.array([band.allowed for band in bands[0]])
    # Where a coupling comes and goes, as the fringe's, seconds without it count as much.
    used = allowed > 0.8
    assert used.sum() > 3
    np.testing.assert_allclose(removed[used], allowed[used], atol=0.1)
