"""Gauge configurations on disk: real files come out as their makers say, and damage does not."""

import struct

import numpy as np
import pytest
import xarray as xr
from real_files import real_file
from units import check_units

from physics_twins.lattice import files, gauge
from physics_twins.lattice.files import ConfigurationError, Format
from physics_twins.lattice.formats.configuration import Recomputed
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate

FORMATS: list[Format] = ["milc", "nersc", "ildg", "scidac", "openqcd"]
WARM = LatticeParameters(
    theory="su3",
    n_dimensions=4,
    side=2,
    n_time=4,
    beta=6.0,
    n_chains=1,
    n_warmup=100,
    n_measurements=10,
)


@pytest.fixture(scope="module")
def configuration() -> xr.Dataset:
    return simulate(WARM.replace(start="hot"), seed=4)


def numbers(name: str, *, forced: bool = False) -> dict[str, float]:
    read = files.read(real_file(f"lattice/{name}"), forced=forced)
    return {str(k): float(v) for k, v in read.data_vars.items() if v.ndim == 0}


# Real files


def test_milc_sample_has_every_number_of_its_info_file():
    path = real_file("lattice/lat.sample.l8888")
    facts = dict(
        line.split(" = ") for line in path.with_name(f"{path.name}.info").read_text().splitlines()
    )
    read = files.read(path)
    assert f'"{" ".join(read["found"].values)}"' == facts["checksums"]
    assert f"{3 * float(read['plaquette_space']):.6f}" == facts["gauge.ssplaq"]
    assert f"{3 * float(read['plaquette_time']):.6f}" == facts["gauge.stplaq"]
    assert f"{float(read['link_trace']):.6f}" == facts["gauge.nersc_linktr"]


def test_one_field_in_three_formats_is_read_as_one_field():
    read = [files.read(real_file(f"lattice/lat.sample.l4444{end}")) for end in ("", ".scidac", ".ildg")]
    assert [f"{float(each['plaquette']):.6f}" for each in read] == ["0.594850"] * 3
    assert all((each["field"] == read[0]["field"]).all() for each in read)
    assert [list(each["found"].values) for each in read[1:]] == [["37affb9c", "2fc07bbf"]] * 2


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nersc.l8t4b3360", ["b379560a", "0.5038664469", "0.005406083858"]),
        ("t_nersc.cfg", ["717938df", "0.0382422894", "0.4630322099"]),
    ],
)
def test_nersc_files_have_the_numbers_of_their_headers(name, found):
    # The second is in single precision: its header is met to six digits.
    read = files.read(real_file(f"lattice/{name}"))
    assert list(read["found"].values) == found
    assert read["passed"].all()


@pytest.mark.parametrize(("n", "plaquette"), [(2, 0.476138111), (3, 0.568215750)])
def test_a_bare_ildg_file_is_refused_by_name_and_read_when_forced(n, plaquette):
    path = real_file(f"lattice/hmc_beta5.7_su{n}.ildg")
    with pytest.raises(ConfigurationError, match="there is no record ildg-format"):
        files.read(path)
    forced = files.read(path, forced=True)
    assert float(forced["plaquette"]) == pytest.approx(plaquette, abs=5e-10)
    assert (forced.attrs["forced"], forced.sizes["row"]) == (1, n)
    assert "invalid, forced: there is no record ildg-format" in files.told(forced)


def test_malformed_xml_is_refused_by_name_and_read_when_forced():
    with pytest.raises(ConfigurationError, match="record ildg-format is no valid XML"):
        files.read(real_file("lattice/lat.sample.l4448.foreign"))
    assert 0.5 < numbers("lat.sample.l4448.foreign", forced=True)["plaquette"] < 0.6


# What is written is read


ANY_NUMBER = [(form, number) for form in FORMATS[1:4] for number in ("<f4", ">f4", "<f8", ">f8")]


@pytest.mark.parametrize(
    ("form", "number"), [("milc", "<f4"), ("milc", ">f4"), *ANY_NUMBER, ("openqcd", "<f8")]
)
def test_what_was_written_is_read_again(configuration, tmp_path, form, number):
    read = files.read(files.write(configuration["field"], tmp_path / "links", form, number=number))
    links = configuration["field"].squeeze(drop=True).drop_vars("kept", errors="ignore")
    atol = 1e-7 if number[2] == "4" else 1e-15
    np.testing.assert_allclose(read["field"], links, atol=atol)
    last = float(configuration["plaquette"][0, -1])
    assert float(read["plaquette"]) == pytest.approx(last, abs=1e-7 if number[2] == "4" else 1e-12)
    assert read["passed"].all()
    check_units(read.drop_vars("passed"))


def test_su2_goes_through_the_formats_that_have_it(tmp_path):
    field = simulate(WARM.replace(theory="su2"), seed=1)["field"]
    for form in ("nersc", "ildg", "scidac"):
        np.testing.assert_allclose(
            files.read(files.write(field, tmp_path / form, form))["field"], field.squeeze()
        )


def test_openqcd_keeps_the_links_of_odd_sites_alone(configuration, tmp_path):
    raw = files.write(configuration["field"], tmp_path / "links", "openqcd").read_bytes()
    assert len(raw) == 24 + 576 * 32
    assert struct.unpack_from("<4i", raw) == (4, 2, 2, 2)
    links = configuration["field"].squeeze().values
    first = np.frombuffer(raw, "<f8", count=18, offset=24).reshape(3, 3, 2)
    np.testing.assert_array_equal(first, links[0, 0, 0, 1, 0])  # the first odd site, forward in time


# Damage


@pytest.mark.parametrize("form", ["milc", "nersc", "ildg", "scidac", "openqcd"])
def test_a_flipped_bit_in_the_links_is_found(configuration, tmp_path, form):
    whole = files.write(configuration["field"], tmp_path / "whole", form).read_bytes()
    rng = np.random.default_rng(6)
    start = whole.find(b"binary-data") + 140 if form in ("ildg", "scidac") else 400
    for _ in range(30):
        damaged, place = bytearray(whole), int(rng.integers(start, start + 8000))
        # openQCD has no checksum: only a damage that the plaquette shows.
        damaged[place - place % 8 + 7 if form == "openqcd" else place] ^= 1 << int(rng.integers(5, 8))
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=r"stated is|unitary"):
            files.read(tmp_path / "damaged")


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_anywhere_is_refused_in_a_sentence(configuration, tmp_path, form):
    whole = files.write(configuration["field"], tmp_path / "whole", form).read_bytes()
    for length in [*range(0, 2000, 37), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="cut"):
            files.read(tmp_path / "cut")


@pytest.mark.parametrize("form", ["nersc", "ildg", "scidac", "milc"])
def test_damage_in_a_header_is_an_error_in_words_or_changes_nothing(configuration, tmp_path, form):
    whole = files.write(configuration["field"], tmp_path / "whole", form).read_bytes()
    field = files.read(tmp_path / "whole")["field"]
    rng = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(rng.integers(0, 1800 if form in ("ildg", "scidac") else 300))] ^= 1 << int(
            rng.integers(8)
        )
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            read = files.read(tmp_path / "damaged")
        except ConfigurationError:
            continue
        xr.testing.assert_equal(read["field"], field)


def test_a_plaquette_of_another_field_is_not_believed(configuration, tmp_path):
    raw = files.write(configuration["field"], tmp_path / "links", "nersc").read_bytes()
    place = raw.index(b"PLAQUETTE = ") + 14
    (tmp_path / "links").write_bytes(raw[:place] + b"9" + raw[place + 1 :])
    with pytest.raises(ConfigurationError, match=r"PLAQUETTE is 0\.\d+, stated is 0\.9"):
        files.read(tmp_path / "links")
    assert "is stated" in files.told(files.read(tmp_path / "links", forced=True))


def test_a_document_type_in_xml_is_refused_before_its_entities_grow(configuration, tmp_path):
    raw = files.write(configuration["field"], tmp_path / "links", "ildg").read_bytes()
    bomb = raw.replace(
        b'<ildgFormat xmlns="http://www.lqcd.org/ildg">',
        b'<!DOCTYPE a [<!ENTITY a "b">]><ildgFormat >'.ljust(45),
    )
    (tmp_path / "links").write_bytes(bomb)
    with pytest.raises(ConfigurationError, match="declares a document type"):
        files.read(tmp_path / "links")


def test_what_is_no_configuration_is_refused(configuration, tmp_path):
    (tmp_path / "text").write_text("no links")
    with pytest.raises(ConfigurationError, match="of no format known here"):
        files.read(tmp_path / "text")
    with pytest.raises(FileNotFoundError, match="there is no gauge configuration"):
        files.read(tmp_path / "nothing")
    flat = simulate(WARM.replace(n_dimensions=2, n_time=0, side=4), seed=1)["field"]
    with pytest.raises(ConfigurationError, match="in four dimensions are needed"):
        files.write(flat, tmp_path / "flat", "nersc")


def test_the_command_tells_what_a_file_is(configuration, tmp_path, capsys):
    from typer.testing import CliRunner

    from physics_twins.cli.__main__ import app

    path = files.write(configuration["field"], tmp_path / "links", "nersc")
    told = CliRunner().invoke(app, ["lattice", "check", str(path)])
    assert told.exit_code == 0
    assert told.stdout.startswith(
        "NERSC, SU(3), 4 x 2 x 2 x 2 sites (t, x, y, z), numbers >f8: whole\n"
    )
    assert told.stdout.count("as stated") == 3
    refused = CliRunner().invoke(app, ["lattice", "check", str(tmp_path / "nothing")])
    assert isinstance(refused.exception, FileNotFoundError)


def test_a_spatial_plaquette_is_told_from_one_with_time():
    # Links in time are turned by site, so that only plaquettes with time are not one.
    rng = np.random.default_rng(2)
    parameters = WARM.replace(start="hot")
    links = gauge.start(parameters.replace(start="cold"), rng)
    links[:, 0] = gauge.start(parameters, rng)[:, 0]
    recomputed = Recomputed(parameters.shape)
    for one in links.reshape(parameters.n_time, -1, 4, 3, 3):
        recomputed.add(one)
    found = recomputed.numbers()
    assert found["plaquette_space"] == pytest.approx(1)
    assert abs(found["plaquette_time"]) < 0.5


# Formats without a checksum


@pytest.mark.parametrize(
    ("form", "number"),
    [("milc_v1", "<f4"), ("milc_v1", ">f4"), ("milc_text", "<f4"), ("milc_text", "<f8")],
)
def test_older_milc_files_come_back_and_say_that_nothing_was_checked(
    configuration, tmp_path, form, number
):
    path = files.write(configuration["field"], tmp_path / "links", form, number=number)
    read = files.read(path)
    links = configuration["field"].squeeze(drop=True).drop_vars("kept", errors="ignore")
    np.testing.assert_allclose(read["field"], links, atol=1e-7 if number[2] == "4" else 1e-15)
    assert read.attrs["number"] == number
    assert read.sizes["check"] == 0
    assert "the file states no number to check" in files.told(read)


def test_milc_v1_is_as_its_header_file_says(configuration, tmp_path):
    raw = files.write(configuration["field"], tmp_path / "links", "milc_v1", number=">f4").read_bytes()
    assert struct.unpack_from(">5i", raw) == (59354, 2, 2, 2, 4)  # x, y, z, t
    assert len(raw) == 28 + 288 * 32
    v5 = files.write(configuration["field"], tmp_path / "v5", "milc", number=">f4").read_bytes()
    assert raw[28:] == v5[96:]


def test_a_real_file_goes_through_text_and_back(tmp_path):
    whole = files.read(real_file("lattice/lat.sample.l4444"))
    read = files.read(files.write(whole["field"], tmp_path / "text", "milc_text", number="<f4"))
    np.testing.assert_allclose(read["field"], whole["field"], rtol=1e-7, atol=1e-12)
    assert f"{float(read['plaquette']):.6f}" == "0.594850"


@pytest.mark.parametrize("form", ["milc_v1", "milc_text"])
def test_damage_without_a_checksum_is_seen_where_it_can_be(configuration, tmp_path, form):
    whole = files.write(configuration["field"], tmp_path / "whole", form).read_bytes()
    for length in [*range(0, 400, 7), len(whole) // 2]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="cut"):
            files.read(tmp_path / "cut")
    damaged = whole.replace(b"e-01", b"e+01", 1) if form == "milc_text" else bytearray(whole)
    if form == "milc_v1":
        damaged[-1] ^= 0x40  # the exponent of a number
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(ConfigurationError, match="unitary"):
        files.read(tmp_path / "damaged")


def test_text_that_is_no_number_is_refused_by_name(configuration, tmp_path):
    text = files.write(configuration["field"], tmp_path / "links", "milc_text").read_text()
    (tmp_path / "links").write_text(text.rstrip().rpartition("\t")[0] + "\tlink\n")
    with pytest.raises(ConfigurationError, match="among the links is no number"):
        files.read(tmp_path / "links")
    (tmp_path / "links").write_text('20103\n"now"\n99999 99999 99999 99999\n1.0\n')
    with pytest.raises(ConfigurationError, match="numbers, found at most 20"):
        files.read(tmp_path / "links")


def test_milcs_files_hold_three_colours_alone(tmp_path):
    field = simulate(WARM.replace(theory="su2"), seed=1)["field"]
    with pytest.raises(ConfigurationError, match=r"MILC's files hold SU\(3\), not SU\(2\)"):
        files.write(field, tmp_path / "links", "milc_text")
