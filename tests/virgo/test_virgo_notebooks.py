"""The Virgo twin's notebook, run headless: its results, not only that it runs."""

import numpy as np
import pytest
import xarray as xr

from physics_twins import runs
from physics_twins.parameters import ParameterError
from physics_twins.virgo.simulate import COMPONENTS


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
