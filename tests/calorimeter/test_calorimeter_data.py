"""The data that Geant4 is given: cross sections against published ones, and their folder."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from physics_twins.calorimeter.geant4 import data_folder, photons
from physics_twins.calorimeter.geant4.bremsstrahlung import (
    ELECTRON_MASS_MEV,
    ELECTRON_RADIUS2_MB,
    FINE_STRUCTURE,
    coulomb_correction,
    scaled_cross_section,
)
from physics_twins.calorimeter.geant4.materials import ABSORBERS, ELEMENTS, SENSORS, VACUUM
from physics_twins.data import changed, noted

# Review of Particle Physics, "Atomic and nuclear properties": mass number, radiation length in g/cm2.
RADIATION_LENGTHS = {
    6: (12.011, 42.70),
    14: (28.085, 21.82),
    18: (39.948, 19.55),
    26: (55.845, 13.84),
    29: (63.546, 12.86),
    74: (183.84, 6.76),
    82: (207.2, 6.37),
}
# NIST, X-ray mass attenuation coefficients (Hubbell and Seltzer): Z, mass, MeV, cm2/g with scattering.
ATTENUATION = [(14, 28.085, 0.01, 33.89), (14, 28.085, 0.1, 0.1835), (74, 183.84, 0.1, 4.438)]
ATTENUATION += [(82, 207.2, 0.1, 5.549), (29, 63.546, 0.1, 0.4584), (6, 12.011, 0.01, 2.373)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return data_folder.small_tables(tmp_path_factory.mktemp("tables"))


@pytest.mark.parametrize("z", RADIATION_LENGTHS)
def test_the_radiation_lengths_are_those_of_the_review_of_particle_physics(z):
    mass, expected = RADIATION_LENGTHS[z]
    # The radiation length is defined by the complete-screening formula, which 10 GeV nearly reaches.
    share = (np.arange(2000) + 0.5) / 2000
    loss_mb = scaled_cross_section(1e4, share, z).mean() * z**2
    length = mass / (6.02214076e23 * 1e-27 * loss_mb)  # g/cm2, over which an electron loses its energy
    assert length == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("z", [6, 29, 82])
def test_fast_electrons_radiate_as_complete_screening_says(z):
    y = np.array([0.1, 0.3, 0.5, 0.7])
    # Tsai, Rev. Mod. Phys. 46 (1974) 815, equation 3.83, with his radiation logarithms.
    logarithm = np.log(184.15 / z ** (1 / 3)) - coulomb_correction(z)
    electrons = np.log(1194 / z ** (2 / 3))
    first = (4 / 3 - 4 / 3 * y + y**2) * (logarithm + electrons / z)
    expected = 4 * FINE_STRUCTURE * ELECTRON_RADIUS2_MB * (first + (1 - y) * (1 + 1 / z) / 9)
    np.testing.assert_allclose(scaled_cross_section(1e6, y, z), expected, rtol=0.01)


def test_slow_electrons_radiate_as_the_non_relativistic_formula_says():
    t, y = 0.005, np.array([0.3, 0.5, 0.7])
    # Koch and Motz 1959, formula 3BN(a), with Elwert's factor; momenta in electron masses.
    p0, p = (np.sqrt(2 * t * share / ELECTRON_MASS_MEV) for share in (1, 1 - y))
    before, after = 2 * np.pi * FINE_STRUCTURE / p0, 2 * np.pi * FINE_STRUCTURE / p
    elwert = after / before * np.expm1(-before) / np.expm1(-after)
    born = 16 / 3 * FINE_STRUCTURE * ELECTRON_RADIUS2_MB * np.log((p0 + p) / (p0 - p))
    # One per cent of the mass is kinetic energy, which enters squared.
    np.testing.assert_allclose(scaled_cross_section(t, y, 1), born * elwert, rtol=0.04)


def test_no_table_of_bremsstrahlung_has_gaps():
    energy = np.geomspace(1e-3, 1e4, 57)[:, None]
    share = np.linspace(1e-9, 1, 200)
    for z in ELEMENTS.values():
        values = scaled_cross_section(energy, share, z)
        assert np.isfinite(values).all()
        assert (values[:, :-20] > 0).all()


@pytest.mark.parametrize(("z", "mass", "energy_mev", "expected"), ATTENUATION)
def test_photons_are_attenuated_as_measured(z, mass, energy_mev, expected):
    k = energy_mev / ELECTRON_MASS_MEV
    inner = 2 * (1 + k) / (1 + 2 * k) - np.log(1 + 2 * k) / k
    # Klein and Nishina's cross section of free electrons, in barn.
    compton = 1e-3 * ELECTRON_RADIUS2_MB * 2 * np.pi
    compton *= (1 + k) / k**2 * inner + np.log(1 + 2 * k) / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    whole = photons.photoelectric_cross_section(energy_mev, z) + z * compton
    whole += photons.rayleigh_cross_section(energy_mev, z)
    # Electrons in atoms scatter less than free ones: up to a tenth of the Compton part at 10 keV.
    assert float(whole) * 0.602214 / mass == pytest.approx(expected, rel=0.05)


def test_photons_cross_sections_go_on_smoothly_above_their_tables():
    energy = np.array([0.7, 0.7001, 5.0, 5.0001, 100.0])
    for cross_section in (photons.photoelectric_cross_section, photons.rayleigh_cross_section):
        values = cross_section(energy, 74)
        np.testing.assert_allclose(values[[0, 2]], values[[1, 3]], rtol=1e-3)
        assert (np.diff(values) < 0).all()


def test_every_material_is_made_of_elements_with_tables():
    materials = [*ABSORBERS.values(), *SENSORS.values(), VACUUM]
    assert {e for material in materials for e in material.elements} == set(ELEMENTS)


def test_the_folder_has_all_that_geant4_asks_for(tables):
    for z in ELEMENTS.values():
        names = (f"brem_SB/br{z}", f"epics2017/rayl/re-cs-{z}.dat")
        names += tuple(f"epics2017/phot/pe-{kind}-{z}.dat" for kind in ("cs", "high", "low"))
        assert all((tables / "G4EMLOW8.8" / name).stat().st_size for name in names)
    assert data_folder.is_whole(tables)


def test_a_table_says_what_the_formula_says(tables):
    lines = (tables / "G4EMLOW8.8" / "brem_SB" / "br74").read_text().splitlines()
    shares, energies = (np.array(line.split(), dtype=float) for line in lines[1:3])
    assert lines[0].split() == ["0", str(len(shares)), str(len(energies))]
    values = np.array([line.split() for line in lines[3:]], dtype=float)
    expected = scaled_cross_section(np.exp(energies)[:, None], shares, 74)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_the_folder_is_small(tables):
    assert sum(path.stat().st_size for path in tables.rglob("*") if path.is_file()) < 1e6


def test_a_second_call_finds_the_folder(tables, monkeypatch):
    monkeypatch.setattr(data_folder, "write_tables", lambda *_: pytest.fail("written again"))
    assert data_folder.small_tables(tables.parent) == tables


def test_tables_of_changed_code_lie_in_another_folder(tmp_path, monkeypatch):
    changed = tmp_path / "photons.py"
    changed.write_text(Path(photons.__file__).read_text() + "# changed")
    before = data_folder._identity.__wrapped__()
    for module in (data_folder, photons, data_folder.bremsstrahlung):
        monkeypatch.setattr(module, "__file__", str(changed))
        assert data_folder._identity.__wrapped__() != before
        monkeypatch.undo()
    assert data_folder._identity.__wrapped__() == before


@pytest.mark.parametrize("damage", ["changed", "missing", "cut short", "folder missing"])
def test_a_damaged_folder_is_noticed_and_written_again(tmp_path, damage):
    folder = data_folder.small_tables(tmp_path)
    victim = folder / "G4EMLOW8.8" / "brem_SB" / "br74"
    whole = victim.read_bytes()
    if damage == "changed":
        victim.write_bytes(whole.replace(b"1", b"2", 1))
    elif damage == "missing":
        victim.unlink()
    elif damage == "cut short":
        victim.write_bytes(whole[:-10])
    else:
        (folder / "G4NDL4.7.1").rmdir()
    assert not data_folder.is_whole(folder)
    assert data_folder.small_tables(tmp_path) == folder
    assert data_folder.is_whole(folder)
    assert victim.read_bytes() == whole


def test_a_folder_whose_writing_was_cut_off_is_not_taken_for_whole(tmp_path, monkeypatch):
    written = []

    def until_killed(path):
        written.append(path)
        if len(written) > 20:
            raise KeyboardInterrupt
        return replacing(path)

    replacing = data_folder.data.replacing
    monkeypatch.setattr(data_folder.data, "replacing", until_killed)
    with pytest.raises(KeyboardInterrupt):
        data_folder.small_tables(tmp_path)
    monkeypatch.undo()
    assert not any(map(data_folder.is_whole, tmp_path.iterdir()))
    assert data_folder.is_whole(data_folder.small_tables(tmp_path))


def test_full_tables_are_used_where_a_user_has_them(tmp_path, monkeypatch):
    table = tmp_path / "G4EMLOW8.8" / "brem_SB" / "br74"
    table.parent.mkdir(parents=True)
    table.touch()
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    assert data_folder.full_tables() == tmp_path


def test_other_tables_are_noted_as_others(tmp_path, monkeypatch):
    monkeypatch.delenv("GEANT4_DATA_DIR", raising=False)
    data_folder._used.cache_clear()
    with noted() as read:
        data_folder.use_tables()
    assert len(read) == 1
    assert changed(read) == []
    table = tmp_path / "G4EMLOW8.8" / "brem_SB" / "br74"
    table.parent.mkdir(parents=True)
    table.touch()
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    full = data_folder.source_sha256()
    assert changed(read) == read
    table.write_text("other numbers")
    assert data_folder.source_sha256() != full


def test_a_folder_without_tables_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"GEANT4_DATA_DIR = .* has no G4EMLOW.*calzone download"):
        data_folder.full_tables()


def test_our_own_folder_is_not_taken_for_full_tables(tables, monkeypatch):
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tables))
    assert data_folder.full_tables() is None


def test_without_xraylib_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xraylib", None)
    with pytest.raises(ModuleNotFoundError, match=r"xraylib.*pip install calzone xraylib"):
        photons.photoelectric_cross_section(0.1, 14)


def test_looking_for_tables_leaves_the_environment_alone(tmp_path):
    before = dict(os.environ)
    data_folder.small_tables(tmp_path)
    assert dict(os.environ) == before
