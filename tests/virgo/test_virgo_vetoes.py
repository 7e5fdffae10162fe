"""Vetoes are decided on the channels' tiles: what they catch and cost, what they never look at."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.virgo import (
    EASY,
    VirgoParameters,
    oracle,
    plots,
    segments,
    simulate,
    vetoes,
    witnesses,
)
from physics_twins.virgo.formats.strain_file import StrainFileError
from physics_twins.virgo.parameters import VetoParameters

MANY = EASY | {"duration_s": 128.0, "glitch_rate_hz": 0.2, "glitch_snr": 30.0, "n_unsafe": 2}
SETTINGS = VetoParameters()


@pytest.fixture(scope="module")
def stretches():
    found = [simulate(VirgoParameters(**MANY), seed=seed) for seed in (1, 3, 2)]
    return [each.assign(strain=each["strain"] - oracle(each)) for each in found]


@pytest.fixture(scope="module")
def veto(stretches):
    return vetoes.learn(stretches[:2], SETTINGS)


@pytest.fixture(scope="module")
def decided(veto, stretches):
    return vetoes.decide(veto, stretches[2])


def noise(seconds=64, rate_hz=1024):
    return np.random.default_rng(1).standard_normal(seconds * rate_hz)


def times(stretch, *, witnessed):
    chosen = (stretch["glitch_channel"].values != "") == witnessed
    return stretch["glitch_time"].values[chosen]


def test_a_burst_in_noise_is_one_trigger_at_its_time_and_frequency():
    time_s = np.arange(64 * 1024) / 1024
    burst = 8 * np.exp(-(((time_s - 20.3) / 0.02) ** 2)) * np.sin(2 * np.pi * 100 * time_s)
    found = vetoes.triggers(noise() + burst, 1024, VetoParameters(energy=40))
    assert found.sizes["trigger"] == 1
    assert float(found["time"][0]) == pytest.approx(20.3, abs=0.01)
    assert float(found["frequency"][0]) == pytest.approx(100, rel=0.12)  # rows are 12 % apart
    # E = S/N^2 / 2 over the median of an exponential, ln 2; a tile takes most of the burst.
    snr = np.sqrt(np.sum(burst**2))
    assert 0.4 < float(found["energy"][0]) / (snr**2 / 2 / np.log(2)) < 1.2


def test_less_loud_tiles_make_a_quiet_trigger_wider_and_no_more_triggers():
    """Damage if they did not: segments of quiet whistles lie beside their middles."""
    time_s = np.arange(64 * 1024) / 1024
    wave = 1.4 * np.exp(-(((time_s - 20.3) / 0.15) ** 2)) * np.sin(2 * np.pi * 100 * time_s)
    found = [
        vetoes.triggers(noise() + wave, 1024, VetoParameters(beside_energy=energy))
        for energy in (16.0, 22.0)
    ]
    assert found[0].sizes == found[1].sizes
    near = [int(np.abs(each["time"].values - 20.3).argmin()) for each in found]
    wide, narrow = (float(each["spread"][n]) for each, n in zip(found, near, strict=True))
    assert wide > narrow
    assert 0.03 < wide < 0.15  # the wave's power has a root mean square of 0.075 s


def test_noise_has_as_many_loud_tiles_as_an_exponential():
    settings = VetoParameters(energy=14, long_quality=8)
    n_triggers = vetoes.triggers(noise(600), 1024, settings).sizes["trigger"]
    # 4,300 tiles a second over 2^14: 157, of which neighbours make one trigger.
    assert 157 / 4 < n_triggers < 157
    assert vetoes.triggers(noise(600), 1024, VetoParameters(energy=28)).sizes["trigger"] == 0


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_gap_is_no_trigger_and_neither_is_a_dead_channel(value):
    gapped = 5 + noise()
    gapped[20_000:30_000] = value
    found = vetoes.triggers(gapped, 1024, SETTINGS)
    assert not ((found["time"] > 18.5) & (found["time"] < 30.3)).any()
    assert (found["energy"] < 30).all()  # medians of rows hold a sixth of zeros
    assert vetoes.triggers(np.full(65536, value), 1024, SETTINGS).sizes["trigger"] == 0


def test_the_channels_that_witness_glitches_are_learnt_and_no_others(veto):
    assert set(veto.channels) == {channel.name for channel in witnesses.VIBRATION}
    assert min(veto.significance) > 5


def test_channels_that_coincide_by_chance_alone_are_none(stretches):
    moved = stretches[0].copy()
    moved["witness"] = moved["witness"].roll(time=20_000, roll_coords=False)
    nothing = vetoes.learn([moved], SETTINGS)
    assert nothing.channels == ()
    assert vetoes.decide(nothing, moved).sizes["segment"] == 0


def test_most_witnessed_glitches_are_caught_and_others_are_not(decided, stretches):
    seen, unseen = (times(stretches[2], witnessed=w) for w in (True, False))
    found = vetoes.account([decided], [seen], 0.2)
    assert found["efficiency"] > 0.8  # all but those at the ends, and few of the others
    assert found["used"] > 0.6
    assert vetoes.account([decided], [unseen], 0.2)["efficiency"] < 0.2
    # Twelve witnessed glitches in two minutes; a hundredth of the time holds all of them.
    assert found["deadtime"] < 0.02


def test_times_thrown_at_random_are_caught_as_often_as_the_deadtime_says(decided):
    random_s = np.random.default_rng(1).uniform(0, 128, 40_000)
    found = vetoes.account([decided], [random_s], 0.0)
    error = np.sqrt(found["deadtime"] / len(random_s))
    assert found["efficiency"] == pytest.approx(found["deadtime"], abs=5 * error)


def test_two_of_three_glitches_lie_in_a_segment_and_one_segment_of_two_is_used():
    spans = {"start": [1.0, 5.0], "stop": [2.0, 6.0], "probability": [0.9, 0.9]}
    made = xr.Dataset({n: ("segment", v) for n, v in spans.items()})
    made = made.assign_attrs(gps_start_s=1e9, duration_s=10.0)
    found = vetoes.account([made], [np.array([1.5, 1.6, 8.0])], 0.5)
    assert found == {"efficiency": 2 / 3, "deadtime": 0.2, "used": 0.5}


def test_a_veto_does_not_look_at_strain_nor_at_channels_that_carry_it(veto, decided, stretches):
    blind = stretches[2].copy(deep=True)
    blind["strain"][:] = 0
    for name in blind["channel"].values:
        if name.startswith("CAL_"):
            blind["witness"].loc[name] = 0
    xr.testing.assert_identical(vetoes.decide(veto, blind), decided)
    found = vetoes.channel_triggers(stretches[2], SETTINGS, channels=["CAL_NE_MIR_Z"])
    assert found.sizes["trigger"] == 0


def test_louder_triggers_are_surer(veto):
    probability = veto.probability(np.array([20.0, 40.0, 400.0]))
    assert (np.diff(probability) > 0).all()
    assert probability[0] > 0
    assert probability[-1] < 1


def test_a_higher_threshold_costs_less_and_catches_no_more(decided, stretches):
    curve = vetoes.roc([decided], [times(stretches[2], witnessed=True)])
    for name in ("efficiency", "deadtime"):
        assert (np.diff(curve[name]) >= 0).all()  # thresholds fall
    assert (np.diff(curve["threshold"]) < 0).all()
    chance = plots.roc(curve, title="Vetoes").Curve.Chance
    np.testing.assert_array_equal(chance.dimension_values(1), curve["deadtime"])


def test_segments_become_a_flag_in_gps_time_that_is_kept(decided, tmp_path):
    flag = vetoes.flag(decided, 0.5)
    (again,) = segments.read_flags(segments.write_flags([flag], tmp_path / "veto.xml.gz"))
    np.testing.assert_array_equal(again.active, flag.active)
    assert (flag.active >= decided.attrs["gps_start_s"]).all()
    assert flag.full_name == "V1:PT-WITNESSED_GLITCH:1"


def test_a_stream_decides_second_by_second_what_the_whole_stretch_decides(veto, stretches, decided):
    watcher, threshold, n = vetoes.Watcher(veto, 0.5, 1024.0), 0.5, 1024
    records = stretches[2]["witness"].sel(channel=list(veto.channels)).values
    vetoed = np.zeros(60)
    for second in range(60):
        watcher.push(records[:, second * n : (second + 1) * n])
        spans = watcher.spans(4.0)
        assert (spans is None) == (second + 1 < vetoes.LEAST_S)
        for start, stop, probability, channel in spans or ():
            assert 0 <= start < stop <= 1
            assert probability >= threshold
            assert channel in veto.channels
            vetoed[second - 3] = 1
    judged = slice(8, 56)
    expected = np.zeros(60)
    for start, stop, probability in zip(
        *(decided[each].values for each in ("start", "stop", "probability")), strict=True
    ):
        if probability >= threshold and stop < 60:
            expected[int(start) : int(stop) + 1] = 1
    assert expected[judged].sum() >= 4
    # Medians of 16 s and of 64 s differ a little, which moves what lies at the threshold or an edge.
    assert np.sum(vetoed[judged] != expected[judged]) <= 2


def test_a_veto_is_kept_in_a_file_and_a_damaged_one_is_refused_by_field(veto, stretches, tmp_path):
    path = veto.write(tmp_path / "veto.json")
    assert vetoes.Veto.read(path) == veto
    text = path.read_text()
    for damaged, told in (
        (text[:-20], r"veto\.json: file: Invalid JSON"),
        (text.replace('"use"', '"using"'), r"veto\.json: use: Field required"),
        (text.replace('"quality": 8.0', '"quality": -8.0'), r"veto\.json: settings: .*quality"),
    ):
        path.write_text(damaged)
        with pytest.raises(StrainFileError, match=told):
            vetoes.Veto.read(path)
    without = stretches[2].drop_sel(channel=veto.channels[0])
    with pytest.raises(ValueError, match=f"channel {veto.channels[0]} is not in the stretch"):
        vetoes.decide(veto, without)
