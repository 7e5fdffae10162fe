"""The notebook that matches a telescope, run headless, and what only it uses."""

import holoviews as hv
import numpy as np
import pytest
from pulsar_files import injected
from test_pulsar_telescope import observation, white

from physics_twins import runs
from physics_twins.parameters import ParameterError
from physics_twins.pulsar import injection
from physics_twins.pulsar.figures import telescope_plots
from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.injection import Pulse
from physics_twins.pulsar.telescope import portrait
from physics_twins.pulsar.verb_parameters import TelescopeParameters

DAMAGED = b"HEADER_START and no filterbank"


@pytest.fixture(scope="module")
def noise():
    return observation(white(n=2048, n_channels=32))


@pytest.mark.slow
def test_a_simulated_telescope_is_matched_and_its_lookalike_kept(tmp_path):
    values = {"n_channels": 48, "duration_s": 4.4, "lookalike_s": 1.5, "lookalike_name": "a.sf"}
    run = runs.run("pulsar/6_match_telescope", values, out=tmp_path / "run")
    assert run.status == "complete"
    assert run.metrics["n_pulses_taken_out"] == 0
    assert run.metrics["noise_differs_by"] < 0.05
    with (
        open_observation(run.folder / "a.sf") as made,
        open_observation(run.folder / "a_pulses.sf") as copy,
    ):
        assert made.n_spectra == copy.n_spectra == 1500
        assert made.header.n_channels == 48
        changed = (made.read(0, 1500) != copy.read(0, 1500)).any(axis=1)
    assert 0 < changed.sum() < 500  # three sweeps of 60 spectra each, and no other spectrum


@pytest.mark.slow
def test_a_damaged_recording_is_named_with_what_is_wrong(tmp_path):
    (tmp_path / "bad.fil").write_bytes(DAMAGED)
    values = {"recording_path": str(tmp_path / "bad.fil")}
    run = runs.run("pulsar/6_match_telescope", values, out=tmp_path / "run")
    assert run.status == "failed"
    assert "bad.fil" in str(run.provenance["error"])


def test_a_missing_recording_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match=r"recording_path.*nowhere\.fil"):
        runs.run("pulsar/6_match_telescope", {"recording_path": "nowhere.fil"}, out=tmp_path / "run")


@pytest.mark.parametrize("name", ["night", "../night.fil", "night.dada", ""])
def test_a_name_that_is_no_telescope_file_is_refused(name):
    with pytest.raises(ParameterError, match="expected a file name without folder"):
        TelescopeParameters(lookalike_name=name)


def test_a_portrait_of_white_noise_shows_white_noise(noise):
    seen = portrait(noise, segment_spectra=1024)
    n = 2048
    # Level and width come from the quiet core: errors of 1/sqrt(n) and 1/sqrt(2n), times 1.2.
    assert np.abs(seen["level"] - 96).max() < 5 * 1.2 * 16 / np.sqrt(n)
    assert np.abs(seen["sigma"] / 16 - 1).max() < 5 * 1.2 / np.sqrt(2 * n)
    assert seen["occupancy"].max() == 0
    step = float(seen["deviation"][1] - seen["deviation"][0])
    assert float(seen["density"].sum()) * step == pytest.approx(1)
    near = np.abs(seen["deviation"].values) < 2  # bins of 3000 samples and more
    apart = (seen["density"] / seen["gaussian"] - 1).values
    assert np.abs(apart[near]).max() < 5 / np.sqrt(3000) + 0.03  # the bins' width and that of sigma
    wide = seen["rate"].values > 100  # bands of 50 frequencies and more, in two segments
    assert np.abs(seen["zero_dm_power"].values[wide] - 1).max() < 5 / np.sqrt(100)


def test_a_portrait_shows_where_and_how_often_there_is_interference():
    values = white(n=2048, n_channels=32)
    values[500:900, 7] += 9.0
    seen = portrait(observation(values), segment_spectra=2048)
    assert float(seen["occupancy"][7]) == pytest.approx(400 / 2048, rel=0.1)
    assert float(seen["occupancy"].sum() - seen["occupancy"][7]) < 0.01


def test_a_portrait_needs_one_segment(noise):
    with pytest.raises(ValueError, match="2048 spectra, expected 4096 or more"):
        portrait(noise, segment_spectra=4096)


def test_figures_of_a_recording_and_its_lookalike_are_drawn(noise):
    seen = portrait(noise, segment_spectra=1024)
    figures = [
        telescope_plots.spectrograms(noise, noise),
        telescope_plots.bandpass(seen, seen),
        telescope_plots.distributions(seen, seen),
    ]
    for figure in figures:
        assert hv.render(figure, backend="bokeh") is not None


def test_spread_pulses_all_fit_and_are_evenly_apart(noise):
    pulses = injection.spread(Pulse(0.0, 20.0, 5.0, 2.0), 5, noise)
    made, truth = injected(noise, pulses, sefd_jy=10.0, seed=1)
    assert len(truth) == 5
    assert np.ptp(np.diff([each.time_s for each in pulses])) <= 2.1e-3  # whole spectra of 1 ms
    changed = np.flatnonzero((made["data"] != noise["data"]).any("frequency").values)
    assert changed.min() > 0
    assert changed.max() < 2047


def test_a_pulse_that_takes_longer_than_the_recording_is_refused(noise):
    with pytest.raises(ValueError, match=r"takes .* s to cross the band, but the observation lasts"):
        injection.spread(Pulse(0.0, 1e5, 5.0, 2.0), 1, noise)
