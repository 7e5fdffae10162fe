import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from pendulum import PendulumParameters
from units import check_units

from physics_twins import clusters
from physics_twins.data import attributes, open_dataset, save


@pytest.fixture
def swings():
    values = np.random.default_rng(1).normal(size=(3, 4))
    return xr.Dataset(
        {
            "angle": (("pendulum", "time"), values, {"units": "rad"}),
            "waited": ("time", np.arange(4), {"units": "seconds"}),
        },
        coords={"time": ("time", np.arange(4.0), {"units": "s"}), "pendulum": ["a", "b", "c"]},
        attrs=attributes(PendulumParameters(damped=True), seed=3, title="Swings"),
    )


def test_a_dataset_comes_back_from_disk_unchanged(swings, tmp_path):
    path = save(swings, tmp_path / "swings.nc")
    xr.testing.assert_identical(open_dataset(path), swings)


def test_a_dataset_is_written_beside_workers_and_by_them(swings, tmp_path):
    with clusters.connect("local", jobs=1) as client:
        there = client.submit(save, swings, tmp_path / "there.nc").result()
        here = save(swings, tmp_path / "here.nc")
    xr.testing.assert_identical(open_dataset(there), open_dataset(here))


def test_a_dataset_can_be_read_in_chunks(swings, tmp_path):
    path = save(swings, tmp_path / "swings.nc")
    with open_dataset(path, chunks={"time": 2}) as lazy:
        assert lazy.angle.chunks == ((3,), (2, 2))
        xr.testing.assert_identical(lazy.compute(), swings)


def test_a_dataset_that_cannot_be_written_leaves_the_old_file(swings, tmp_path):
    path = save(swings, tmp_path / "swings.nc")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save(swings.assign_attrs(bad=object()), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["swings.nc"]


@pytest.mark.parametrize("content", [b"", b"no netCDF at all", b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_a_damaged_dataset_is_named(content, tmp_path):
    path = tmp_path / "damaged.nc"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.nc"):
        open_dataset(path)


def test_a_missing_dataset_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.nc"):
        open_dataset(tmp_path / "none.nc")


def test_variables_and_coordinates_without_units_are_named(swings):
    check_units(swings)
    del swings.angle.attrs["units"], swings.time.attrs["units"]
    with pytest.raises(ValueError, match="angle, time"):
        check_units(swings)


def test_the_attributes_trace_a_dataset_to_parameters_seed_and_code(swings):
    assert swings.attrs["length_m"] == 1.0
    assert swings.attrs["damped"] == 1
    assert swings.attrs["seed"] == 3
    assert swings.attrs["physics_twins_version"]


FULL_DISK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np, xarray as xr
from physics_twins.data import save

resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # as a disk that fills up

def saved(n):
    try:
        return save(xr.Dataset({"a": ("x", np.arange(60_000.0))}), f"{sys.argv[1]}/{n}.nc")
    except OSError:
        return None

with ThreadPoolExecutor(8) as pool:
    print(sum(path is not None for path in pool.map(saved, range(40))))
"""


def test_a_disk_that_fills_up_while_threads_write_is_an_error_and_leaves_nothing(tmp_path):
    # Through HDF5's own files this ended in a segmentation fault.
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr
    assert list(tmp_path.iterdir()) == []
