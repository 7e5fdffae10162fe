"""The Virgo twin's notebook, run headless: its results, not only that it runs."""

import numpy as np
import pytest
import xarray as xr

from physics_twins import runs
from physics_twins.parameters import ParameterError
from physics_twins.twin import TwinState
from physics_twins.virgo import VirgoParameters, files, segments, simulate, vetoes
from physics_twins.virgo.certificate import Certificate
from physics_twins.virgo.simulate import COMPONENTS
from physics_twins.virgo.witnesses import VIBRATION


@pytest.mark.slow
def test_simulate_leaves_truth_that_adds_up_and_a_filter_near_the_oracle(tmp_path):
    run = runs.run("virgo/1_simulate", {"duration_s": 128.0}, out=tmp_path / "run")
    assert run.status == "complete"
    stretch = xr.load_dataset(run.folder / "stretch.nc")
    added = np.zeros(stretch.sizes["time"])
    for name in COMPONENTS:
        added += stretch[name].values
    np.testing.assert_array_equal(added, stretch["strain"])
    assert run.metrics["worst_band_of_oracle"]["value"] > 0.6  # 0.82 from half as much again
    assert run.metrics["naive_worst_band"] < run.metrics["worst_band_of_oracle"]["value"]
    assert run.metrics["calibration"] == pytest.approx(1.013, abs=1e-3)


def test_a_wrong_strength_is_refused_before_a_kernel_starts(tmp_path):
    with pytest.raises(ParameterError, match=r"seismic = -1\.0 is outside its range"):
        runs.run("virgo/1_simulate", {"seismic": -1.0}, out=tmp_path / "run")


@pytest.mark.slow
def test_train_leaves_a_model_with_a_prior_that_sees_further_than_the_wiener_filter(tmp_path):
    run = runs.run("virgo/2_train", {"on": "threads"}, out=tmp_path / "run")
    assert run.status == "complete"
    metrics = run.metrics
    assert metrics["range_prior"] > metrics["range_Wiener"]
    # So short a training may not help, and must not do harm.
    assert metrics["range_network"] > 0.99 * metrics["range_prior"]
    assert metrics["range_oracle"] > metrics["range_network"]
    assert metrics["left_over_prior"] < 1.02


@pytest.mark.slow
def test_evaluate_shows_five_ways_in_their_order(tmp_path):
    run = runs.run("virgo/3_evaluate", {"duration_s": 128.0}, out=tmp_path / "run")
    assert run.status == "complete"
    metrics = run.metrics
    assert metrics["worst_oracle"] > metrics["worst_ours"] > metrics["worst_found"]
    assert metrics["worst_oracle"] > metrics["worst_network"] > metrics["worst_found"]
    # No band is made worse by what breaks real systems.
    assert min(metrics["worst_ours"], metrics["worst_network"]) > 0
    assert metrics["lost_2_percent"] < 0.3


@pytest.mark.slow
def test_clean_follows_flips_and_stops_and_leaves_a_certificate_for_each_second(tmp_path):
    run = runs.run("virgo/4_clean", {}, out=tmp_path / "run")
    assert run.status == "complete"
    lines = (run.folder / "certificates.jsonl").read_text().splitlines()
    certificates = [Certificate.model_validate_json(line) for line in lines]
    assert len(certificates) == 128
    assert set(certificates[5].unsafe_channels) == {"CAL_NE_MIR_Z", "CAL_WE_MIR_Z"}
    said = " ".join(action for each in certificates for action in each.actions)
    assert "LSC_MICH jumped 76.8" in said  # 0.6 of 128 s
    assert "LSC_LINE jumped 70.4" in said or "LSC_LINE jumped 70.3" in said  # 0.55 of 128 s
    assert run.metrics["worst_band_of_oracle"] > run.metrics["naive_worst_band"] + 0.5
    assert run.metrics["n_worse"] == 0
    assert all(each.vetoed is not None for each in certificates[8:-4])
    assert 0 < run.metrics["vetoed_s"] < 0.05 * 128


@pytest.mark.slow
def test_clean_learns_a_veto_from_a_file_and_refuses_one_without_witnesses_in_one_sentence(tmp_path):
    """The file holds what the simulator makes; the notebook knows no truth of it."""
    asked = VirgoParameters(
        duration_s=256.0, sample_rate_hz=1024, glitch_rate_hz=0.3, glitch_snr=30.0, n_signals=0
    )
    made = simulate(asked, seed=4)
    path = files.write(files.channels_of(made), tmp_path / "a.hdf5")
    run = runs.run("virgo/4_clean", {"strain_file": str(path)}, out=tmp_path / "run")
    assert run.status == "complete"
    cleaned = xr.load_dataset(run.folder / "cleaned.nc")
    coupled = sum(made[str(name)].values for name in made["coupling"].values)
    inside = slice(130 * 1024, -4 * 1024)
    left = (coupled - cleaned["subtracted"].values)[inside]
    # Ground motion of 10 to 35 Hz dominates the variance of both.
    assert left.std() < 0.3 * coupled[inside].std()
    veto = vetoes.Veto.read(run.folder / "veto.json")
    assert set(veto.channels) == {channel.name for channel in VIBRATION}
    (flag,) = segments.read_flags(run.folder / "vetoes.xml")
    times_s = made["glitch_time"].values[made["glitch_channel"].values != ""]
    times_s = times_s[(times_s > 130) & (times_s < 254)] + made.attrs["gps_start_s"]
    held = (flag.active[:, :1] <= times_s) & (times_s < flag.active[:, 1:])
    # Of what was not learnt from most are held, by a fiftieth of the time at most.
    assert held.any(axis=0).mean() > 0.6
    assert (flag.active[:, 1] - flag.active[:, 0]).sum() < 0.02 * 256
    alone = files.write([files.channels_of(made)[0]], tmp_path / "b.hdf5")
    failed = runs.run("virgo/4_clean", {"strain_file": str(alone)}, out=tmp_path / "failed")
    assert failed.status == "failed"
    assert "b.hdf5: expected channels besides strain as witnesses" in str(failed.provenance["error"])


@pytest.mark.slow
def test_twin_calibrates_asks_and_calls_the_coupling_that_flipped(tmp_path):
    run = runs.run("virgo/5_twin", {}, out=tmp_path / "run")
    assert run.status == "complete"
    for name, truth in {"seismic": 5.0, "length": 3.0, "fringe": 5.0}.items():
        found = run.metrics[name]
        # Errors are those of the filters; the fringe's spectrum is a stretch's, not the expected one.
        assert abs(found["value"] - truth) < 5 * found["error"] + 0.05 * truth
    assert run.metrics["range_without_seismometer_mpc"] < -1
    assert run.metrics["alarm"] == 1
    state = TwinState.load(run.folder / "state.json")
    assert "LSC_MICH" in state.history[-1].reason
