"""Files of showers: exact round trips, and every way in which a file can be wrong."""

import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from physics_twins.calorimeter import files
from physics_twins.calorimeter.files import ShowerFileError
from physics_twins.calorimeter.form import shower_dataset
from physics_twins.calorimeter.formats import layouts, shower_file
from physics_twins.calorimeter.formats.layouts import CALO_CHALLENGE, THREE_D_GAN
from physics_twins.calorimeter.geant4 import voxels
from physics_twins.calorimeter.geant4.beam import draw
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.data import save

ROUND = CalorimeterParameters(**CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=50.0)
FLAT = CalorimeterParameters(theta_max_deg=30.0, phi_deg=20.0, spot_mm=10.0, energy_max_gev=50.0)


def showers(parameters, n=7):
    """Showers with random cells, most of them empty."""
    rng = np.random.default_rng(3)
    shape = (n, *(len(axis.centres) for axis in voxels.axes(parameters)))
    cells = np.where(rng.random(shape) < 0.05, rng.exponential(3.0, shape), 0.0).astype(np.float32)
    beam = draw(parameters, seed=1, first=0, count=n)
    return shower_dataset(parameters, beam, cells, {}, parameters.to_attributes())


def challenge_file(path, energies, cells, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("incident_energies", data=energies)
        file.create_dataset("showers", data=cells, **options)
    return path


def read_all(path, shape=None):
    return list(layouts.read(path, CALO_CHALLENGE, shape=shape))


def test_cells_survive_calochallenge_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(shower_file, "BLOCK_BYTES", 2 * 6480 * 12)
    made = showers(ROUND)
    files.write(made, tmp_path / "s.hdf5")
    blocks = list(files.open_showers(tmp_path / "s.hdf5", ROUND))
    assert [block.sizes["shower"] for block in blocks] == [2, 2, 2, 1]
    found = np.concatenate([block["showers"].values for block in blocks])
    np.testing.assert_array_equal(found, made["showers"].values)
    energy = np.concatenate([block["energy_gev"].values for block in blocks])
    np.testing.assert_allclose(energy, made["energy_gev"].values, rtol=3e-16)
    assert [int(n) for block in blocks for n in block["shower"]] == list(range(7))


def test_arrays_of_a_challenge_file_are_copied_bit_by_bit(tmp_path):
    rng = np.random.default_rng(1)
    energies, cells = rng.exponential(1e4, (9, 1)), rng.exponential(1.0, (9, 368))
    challenge_file(tmp_path / "a.hdf5", energies, cells, compression="gzip")
    with layouts.writing(tmp_path / "b.hdf5", CALO_CHALLENGE, (368,), dtype=np.float64) as add:
        for _, some, columns in read_all(tmp_path / "a.hdf5"):
            add(some, columns)
    with h5py.File(tmp_path / "b.hdf5") as copy:
        assert copy["showers"].compression == "gzip"
        np.testing.assert_array_equal(copy["showers"], cells)
        np.testing.assert_array_equal(copy["incident_energies"], energies)


def test_cells_of_a_challenge_file_go_by_layer_then_angle_then_radius(tmp_path):
    made = showers(ROUND, n=1)
    made["showers"][0, 3, 5, 2] = 77.0
    files.write(made, tmp_path / "s.hdf5")
    ((_, cells, _),) = read_all(tmp_path / "s.hdf5")
    assert cells[0, (3 * 16 + 5) * 9 + 2] == 77.0


def test_showers_survive_3dgan(tmp_path):
    made = showers(FLAT)
    files.write(made, tmp_path / "s.h5")
    (block,) = files.open_showers(tmp_path / "s.h5", FLAT)
    np.testing.assert_array_equal(block["showers"].values, made["showers"].values)
    np.testing.assert_array_equal(block["energy_gev"].values, made["energy_gev"].values)
    for name in ("theta_deg", "phi_deg", "x_mm", "y_mm"):
        np.testing.assert_allclose(block[name].values, made[name].values, rtol=1e-12, atol=1e-12)


def test_the_three_keys_of_3dgan_suffice_and_angles_beyond_90_degrees_turn_the_azimuth(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["ECAL"] = np.full((2, 51, 51, 25), 2e-3, dtype=np.float32)
        file["energy"], file["theta"] = [100.0, 200.0], np.deg2rad([60.0, 120.0])
    (block,) = files.open_showers(tmp_path / "s.h5", FLAT)
    np.testing.assert_allclose(block["theta_deg"], [30.0, 30.0])
    np.testing.assert_allclose(block["phi_deg"], [0.0, 180.0])
    np.testing.assert_allclose(block["showers"].values, 2.0, rtol=1e-6)  # GeV without a word


@pytest.mark.parametrize(
    ("incident", "cell", "told"),
    [
        (10_000.0, 9.0 / 23, "showers: the median shower holds 0.0009"),
        (10_000.0, 9e6 / 23, "showers: the median shower holds 900"),
        (10.0, 9.0 / 23, "incident_energies: at most 10 MeV: are they in GeV"),
    ],
)
def test_showers_in_another_unit_are_refused_by_name(tmp_path, incident, cell, told):
    path = challenge_file(tmp_path / "a.hdf5", np.full(5, incident), np.full((5, 23), cell))
    with pytest.raises(ShowerFileError, match=told):
        read_all(path)


GOOD = np.full((4, 6), 1.0)
ENERGIES = np.full((4, 1), 1e3)


def changed(values, where, value):
    values = values.copy()
    values[where] = value
    return values


@pytest.mark.parametrize(
    ("energies", "cells", "expected"),
    [
        (ENERGIES, changed(GOOD, (2, 3), np.nan), r"showers: event 2 \(cell \(3,\)\): nan MeV"),
        (ENERGIES, changed(GOOD, (3, 0), -0.5), r"showers: event 3 \(cell \(0,\)\): -0.5 MeV"),
        (ENERGIES, changed(GOOD, (0, 0), np.inf), "showers: event 0"),
        (changed(ENERGIES, 1, -5.0), GOOD, r"incident_energies: event 1: -5 MeV, expected above 0"),
        (changed(ENERGIES, 1, np.nan), GOOD, r"incident_energies: event 1: nan MeV"),
        (changed(ENERGIES, 1, 0.0), GOOD, r"incident_energies: event 1: 0 MeV"),
        (ENERGIES[:3], GOOD, r"incident_energies: shape \(3, 1\), expected \(4, 1\) or \(4,\)"),
        (ENERGIES, GOOD.reshape(4, 2, 3), r"showers: shape \(4, 2, 3\)"),
        (ENERGIES, GOOD.astype(complex), "showers: values of type complex128"),
        (ENERGIES, GOOD.astype("S4"), r"showers: values of type \|S4"),
    ],
)
def test_wrong_values_are_refused_with_file_key_and_event(tmp_path, energies, cells, expected):
    path = challenge_file(tmp_path / "s.hdf5", energies, cells)
    with pytest.raises(ShowerFileError, match=expected) as error:
        read_all(path)
    assert str(path) in str(error.value)


def test_the_event_is_counted_from_the_start_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(shower_file, "BLOCK_BYTES", 1)
    path = challenge_file(tmp_path / "s.hdf5", ENERGIES, changed(GOOD, (3, 2), -1.0))
    with pytest.raises(ShowerFileError, match="event 3 "):
        read_all(path)


def test_cells_must_be_as_many_as_the_calorimeter_has(tmp_path):
    path = challenge_file(tmp_path / "s.hdf5", ENERGIES, GOOD)
    with pytest.raises(ShowerFileError, match=r"shape \(4, 6\), expected \('N', 7\)"):
        read_all(path, [7])


def links(file):
    file["showers"] = h5py.ExternalLink("other.h5", "showers")


def soft_links(file):
    file["showers"] = h5py.SoftLink("/incident_energies")


def groups(file):
    file.create_group("showers")


def objects(file):
    file.create_dataset("showers", data=["a"] * 4, dtype=h5py.string_dtype())


def jagged(file):
    file.create_dataset("showers", (4,), dtype=h5py.vlen_dtype(np.float64))


def elsewhere(file):
    file.create_dataset("showers", (4, 6), dtype="f8", external=[("other.bin", 0, 192)])


def virtual(file):
    layout = h5py.VirtualLayout((4, 6), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4, 6))
    file.create_virtual_dataset("showers", layout)


def huge_chunks(file):
    file.create_dataset("showers", (4, 1 << 26), chunks=(1, 1 << 26), dtype="f8", compression="gzip")


def huge_events(file):
    # Takes no room in the file until it is written.
    file.create_dataset("showers", (4, 1 << 40), dtype="f4")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda file: None, "showers: missing; the file holds incident_energies"),
        (links, "showers: a link to another place"),
        (soft_links, "showers: a link to another place"),
        (groups, "showers: a group"),
        (objects, "showers: values of type object"),
        (jagged, "showers: values of type object"),
        (elsewhere, "showers: its values are in other files"),
        (virtual, "showers: its values are in other files"),
        (huge_chunks, "showers: chunks of 512 MiB"),
        (huge_events, "showers: 4194304 MiB for each event"),
    ],
)
def test_a_hostile_array_is_refused(tmp_path, make, expected):
    with h5py.File(tmp_path / "s.hdf5", "w") as file:
        file["incident_energies"] = ENERGIES
        make(file)
    with pytest.raises(ShowerFileError, match=expected):
        read_all(tmp_path / "s.hdf5")


def test_a_cut_file_is_refused(tmp_path):
    path = challenge_file(tmp_path / "s.hdf5", ENERGIES, GOOD)
    raw = path.read_bytes()
    for n in (0, 10, len(raw) // 2, len(raw) - 8):
        path.write_bytes(raw[:n])
        with pytest.raises(ShowerFileError, match="damaged, cut or no HDF5 file"):
            read_all(path)


def test_damaged_compressed_data_are_refused(tmp_path):
    cells = np.random.default_rng(1).random((4, 6000))
    path = challenge_file(tmp_path / "s.hdf5", ENERGIES, cells, compression="gzip", chunks=(4, 6000))
    with h5py.File(path) as file:
        offset = file["showers"].id.get_chunk_info(0).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset + 50 : offset + 90] = b"\xff" * 40
    path.write_bytes(raw)
    with pytest.raises(ShowerFileError, match="damaged, cut or no HDF5 file"):
        read_all(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.hdf5"):
        read_all(tmp_path / "no.hdf5")


def write_two_lots(path, first, second):
    with layouts.writing(path, CALO_CHALLENGE, (6,)) as add:
        add(first, {"incident_energies": ENERGIES[:2, 0]})
        add(second, {"incident_energies": ENERGIES[:2, 0]})


def test_a_failed_write_leaves_no_file(tmp_path):
    (tmp_path / "s.hdf5").write_text("old")
    with pytest.raises(ShowerFileError, match="event 3"):
        write_two_lots(tmp_path / "s.hdf5", GOOD[:2], changed(GOOD[:2], (1, 1), -1.0))
    assert [each.name for each in tmp_path.iterdir()] == ["s.hdf5"]
    assert (tmp_path / "s.hdf5").read_text() == "old"


def test_other_cells_than_the_formats_have_are_refused(tmp_path):
    with pytest.raises(ShowerFileError, match="axes"):
        files.write(showers(FLAT, 1).rename(layer="depth"), tmp_path / "s.h5")
    files.write(showers(FLAT, 1), tmp_path / "s.h5")
    with pytest.raises(ShowerFileError, match="layout = 'cylindrical': this format is cartesian"):
        next(files.open_showers(tmp_path / "s.h5", ROUND))
    files.write(showers(ROUND, 1), tmp_path / "s.hdf5")
    with pytest.raises(ShowerFileError, match=r"showers: shape \(1, 6480\), expected \('N', 45\)"):
        next(files.open_showers(tmp_path / "s.hdf5", ROUND.replace(layout="layers")))


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("theta", [1.0, 9.0], "theta: event 1: 9 rad"),
        ("energy", [1.0, -2.0], "energy: event 1: -2 GeV, expected above 0"),
        ("x", [np.nan, 0.0], "x: event 0: nan mm"),
        ("theta", [1.0], r"theta: shape \(1,\)"),
    ],
)
def test_wrong_columns_of_3dgan_are_refused(tmp_path, key, values, expected):
    columns = {"energy": [1.0, 1.0], "theta": [1.5, 1.5]} | {key: values}
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["ECAL"] = np.zeros((2, 3, 3, 2))
        for name, column in columns.items():
            file[name] = column
    with pytest.raises(ShowerFileError, match=expected):
        list(layouts.read(tmp_path / "s.h5", THREE_D_GAN))


def test_cells_of_3dgan_in_another_unit_are_refused_unless_it_is_told(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["ECAL"] = np.full((2, 3, 3, 2), 100.0)  # MeV: 1.8 GeV of 100; read as GeV, 1.8 TeV
        file["energy"], file["theta"] = [100.0, 100.0], [1.5, 1.5]
    with pytest.raises(ShowerFileError, match="ECAL: the median shower holds 18 of its"):
        list(layouts.read(tmp_path / "s.h5", THREE_D_GAN))
    ((_, cells, _),) = layouts.read(tmp_path / "s.h5", THREE_D_GAN, cells_in="MeV")
    assert cells.sum() == 3600


PEAK = """
    import re, sys
    import numpy as np
    from physics_twins.calorimeter.formats import layouts

    path, n = sys.argv[1], int(sys.argv[2])
    noise = np.random.default_rng(1).random((100, 6480), dtype=np.float32)
    with layouts.writing(path, layouts.CALO_CHALLENGE, (6480,)) as add:
        for _ in range(n // 100):
            add(noise, {"incident_energies": np.full(100, 1e4)})
    total = sum(float(cells.sum()) for _, cells, _ in layouts.read(path, layouts.CALO_CHALLENGE))
    assert abs(total / (n / 100 * noise.sum()) - 1) < 1e-3
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def peak_mib(path, n):
    code = [sys.executable, "-c", textwrap.dedent(PEAK), str(path), str(n)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured through /proc")
def test_memory_does_not_grow_with_a_file(tmp_path):
    small = peak_mib(tmp_path / "small.hdf5", 2000)
    large = peak_mib(tmp_path / "large.hdf5", 12_000)
    # The second file is 260 MB larger.
    assert large - small < 40
    assert (tmp_path / "large.hdf5").stat().st_size > 200e6


def opened(path, **options):
    return list(files.open_showers(path, ROUND, **options))


def test_a_file_is_known_by_what_it_holds(tmp_path):
    made = showers(ROUND)
    files.write(made, tmp_path / "a.hdf5")
    save(made, tmp_path / "b.nc")
    (challenge,), (own,) = opened(tmp_path / "a.hdf5", theta_deg=12.0), opened(tmp_path / "b.nc")
    for found in (challenge, own):
        np.testing.assert_array_equal(found["showers"].values, made["showers"].values)
    assert (challenge["theta_deg"] == 12.0).all()
    np.testing.assert_array_equal(own["theta_deg"], made["theta_deg"])
    (untold,) = opened(tmp_path / "a.hdf5")
    assert np.isnan(untold["theta_deg"]).all()
    flat = showers(FLAT)
    files.write(flat, tmp_path / "c.h5")
    (found,) = files.open_showers(tmp_path / "c.h5", FLAT)
    np.testing.assert_array_equal(found["showers"].values, flat["showers"].values)


def test_saved_showers_are_read_block_by_block(tmp_path, monkeypatch):
    save(showers(ROUND), tmp_path / "b.nc")
    monkeypatch.setattr(shower_file, "BLOCK_BYTES", 2 * 6480 * 4)
    assert [block.sizes["shower"] for block in opened(tmp_path / "b.nc")] == [2, 2, 2, 1]


def negative(made):
    return made.assign(showers=made["showers"] - 1.0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"root\x00\x00", "a ROOT file: convert_root makes HDF5 of it"),
        (b"", "no HDF5 file"),
        ({"other": np.zeros(3)}, "no showers of CaloChallenge .* the file holds other"),
        (lambda made: made.isel(depth=slice(9)), "showers: cells .*'depth': 9"),
        (negative, "showers: event 0 .*: -1 MeV, expected from 0"),
        (lambda made: made.assign(energy_gev=np.nan * made["energy_gev"]), "energy_gev: event 0: nan"),
        (lambda made: made.assign(energy_gev=made["showers"]), "energy_gev: axes .*expected"),
        (lambda made: made.drop_attrs().assign(theta_deg=-made["theta_deg"] - 1), "theta_deg: event 0"),
        (
            {name: np.ones(3) for name in ("showers", "energy_gev", "theta_deg")},
            "no showers of CaloChallenge",
        ),
    ],
)
def test_a_file_of_no_showers_is_refused_by_name(tmp_path, content, told):
    path = tmp_path / "wrong.file"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        with h5py.File(path, "w") as file:
            for key, values in content.items():
                file[key] = values
    else:
        save(content(showers(ROUND)), path)
    with pytest.raises(ShowerFileError, match=f"wrong.file.*{told}"):
        opened(path)
