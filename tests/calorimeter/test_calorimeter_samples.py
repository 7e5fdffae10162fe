"""Samples of showers on disk: made file by file, resumed, never mixed up."""

import sys

import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter import samples
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import part as simulated_part
from physics_twins.calorimeter.simulate import simulate

SMALL = CalorimeterParameters(energy_gev=0.05, energy_max_gev=0.1, n_showers=5)


@pytest.fixture(autouse=True)
def short_files(monkeypatch):
    monkeypatch.setattr(samples, "SHOWERS_PER_FILE", 2)


def make(folder, parameters=SMALL, seed=1):
    return samples.make(folder, parameters, seed=seed, progress=False)


def test_a_sample_holds_the_showers_of_a_simulation(tmp_path):
    files = make(tmp_path / "sample")
    assert [path.name for path in files] == [f"showers-{n:05d}.nc" for n in range(3)]
    whole = simulate(SMALL, seed=1)
    xr.testing.assert_identical(samples.open_sample(tmp_path / "sample").load(), whole)


def test_an_interrupted_sample_goes_on_where_it_was(tmp_path, monkeypatch):
    made = []

    def part(parameters, first, count, **options):
        made.append(first)
        if first == 4 and made.count(4) == 1:
            raise KeyboardInterrupt
        return original(parameters, first, count, **options)

    original = simulated_part
    monkeypatch.setattr(sys.modules[simulate.__module__], "part", part)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "sample")
    assert samples.open_sample(tmp_path / "sample").sizes["shower"] == 4
    make(tmp_path / "sample")
    assert made == [0, 2, 4, 4]
    whole = samples.open_sample(tmp_path / "sample")
    np.testing.assert_array_equal(whole["shower"], np.arange(5))


def test_a_sample_grows_and_keeps_its_showers(tmp_path):
    make(tmp_path / "sample")
    before = samples.open_sample(tmp_path / "sample").load()
    make(tmp_path / "sample", SMALL.replace(n_showers=7))
    after = samples.open_sample(tmp_path / "sample").load()
    assert after.sizes["shower"] == 7
    first = after.isel(shower=slice(0, 5))
    xr.testing.assert_identical(first.drop_attrs(), before.drop_attrs())


@pytest.mark.parametrize(
    ("change", "seed", "words"),
    [({"absorber_mm": 3.0}, 1, '"absorber_mm": 2.8'), ({}, 2, '"seed": 1')],
)
def test_a_folder_with_another_sample_is_refused(tmp_path, change, seed, words):
    make(tmp_path / "sample", SMALL.replace(n_showers=1))
    with pytest.raises(ValueError, match=f"holds another sample, with {{{words}}}"):
        make(tmp_path / "sample", SMALL.replace(**change), seed=seed)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        make(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    damaged = make(tmp_path / "sample")[1]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    for use in (make, samples.open_sample):
        with pytest.raises(ValueError, match=r"showers-00001\.nc is damaged"):
            use(tmp_path / "sample")


def test_a_folder_without_showers_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no showers in"):
        samples.open_sample(tmp_path)


def test_the_training_set_is_a_calorimeter():
    parameters = CalorimeterParameters(**samples.TRAINING)
    assert (parameters.energy_gev, parameters.energy_max_gev) == (1.0, 100.0)
