"""Configurations larger than memory: time slices alone, sums that are the same, and no more memory."""

import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from real_files import real_file

from physics_twins.lattice import files, gauge
from physics_twins.lattice.files import ConfigurationError, Format, Origin
from physics_twins.lattice.formats import configuration as conf
from physics_twins.lattice.formats import qcdml
from physics_twins.lattice.gradient_flow import gradient_flow
from physics_twins.lattice.loops import wilson_loops
from physics_twins.lattice.parameters import LatticeParameters

SU3 = LatticeParameters(theory="su3", n_dimensions=4, side=2, n_time=6, start="hot")


def links_of(parameters: LatticeParameters, seed: int = 1) -> xr.DataArray:
    """Return random links in the form of `files.read`."""
    links = gauge.start(parameters, np.random.default_rng(seed))
    n = links.shape[-1]
    parts = links.view(np.float64).reshape(*parameters.shape, 4, n, n, 2)
    return xr.DataArray(parts, dims=("t", "x", "y", "z", "direction", "row", "column", "part"))


def photons_of(seed: int = 2) -> xr.DataArray:
    angles = np.random.default_rng(seed).normal(0, 2, (*SU3.shape, 4))
    return xr.DataArray(angles, dims=("t", "x", "y", "z", "direction"))


@pytest.fixture(scope="module")
def field() -> xr.DataArray:
    return links_of(SU3)


# By time slice


@pytest.mark.parametrize("form", files.FORMATS)
@pytest.mark.parametrize("times", [range(2, 4), range(5, 6), range(0, 6, 2)])
def test_some_slices_are_those_of_the_whole_file(field, tmp_path, form, times):
    path = files.write(field, tmp_path / "links", form)
    whole = files.read(path)["field"]
    for checked in (True, False):
        part = files.read(path, times=times, checked=checked)
        np.testing.assert_array_equal(part["field"], whole.isel(t=list(times)))
        assert list(part["t"].values) == list(times)
        assert part.attrs["verified"] == int(checked)
        assert ("not checked" in files.told(part)) == (not checked)


def test_two_rows_of_a_real_file_are_completed_in_every_slice():
    path = real_file("lattice/t_nersc.cfg")
    whole = files.read(path)["field"]
    np.testing.assert_array_equal(files.read(path, times=range(1, 3))["field"], whole[1:3])


@pytest.mark.parametrize("n", [2, 3])
def test_a_file_without_last_rows_is_the_same_field(tmp_path, n):
    whole = links_of(SU3.replace(theory=f"su{n}"))
    raw = files.write(whole, tmp_path / "whole", "nersc").read_bytes()
    head, data = raw.split(b"END_HEADER\n", 1)
    values = np.frombuffer(data, ">f8").reshape(-1, n, n, 2)[:, :-1]
    checksum = int(np.ascontiguousarray(values).view(">u4").sum(dtype=np.uint64)) & 0xFFFFFFFF
    lines = [line for line in head.split(b"\n") if not line.startswith((b"CHECKSUM", b"DATATYPE"))]
    lines[-1:] = [b"CHECKSUM = %x" % checksum, b"DATATYPE = 4D_SU%d_GAUGE" % n, b"END_HEADER\n"]
    (tmp_path / "short").write_bytes(b"\n".join(lines) + values.tobytes())
    read = files.read(tmp_path / "short", times=range(1, 4))
    np.testing.assert_allclose(read["field"], whole[1:4], atol=1e-14)


def test_slices_that_a_file_does_not_have_are_refused(field, tmp_path):
    path = files.write(field, tmp_path / "links", "nersc")
    with pytest.raises(ConfigurationError, match=r"times range\(4, 7\) must be within 6 slices"):
        files.read(path, times=range(4, 7))


def test_a_part_is_not_closed_into_a_ring(field, tmp_path):
    part = files.read(files.write(field, tmp_path / "links", "nersc"), times=range(2, 4))["field"]
    for asks in (lambda: wilson_loops(part, 1), lambda: gradient_flow(part, longest=0.1)):
        with pytest.raises(ValueError, match="all 6 time slices are needed, found 2"):
            asks()
    with pytest.raises(ValueError, match="all 6 time slices are needed"):
        files.write(part, tmp_path / "part", "ildg")


@pytest.mark.parametrize("form", ["milc", "nersc", "ildg"])
def test_damage_in_another_slice_is_found_while_one_is_read(field, tmp_path, form):
    raw = bytearray(files.write(field, tmp_path / "links", form).read_bytes())
    raw[-1000] ^= 1
    (tmp_path / "links").write_bytes(raw)
    with pytest.raises(ConfigurationError, match="stated is"):
        files.read(tmp_path / "links", times=range(1))
    files.read(tmp_path / "links", times=range(1), checked=False)  # what was asked for is whole


def test_checksums_do_not_depend_on_how_a_file_is_cut():
    words = np.random.default_rng(3).integers(0, 2**32, 1000, dtype=np.uint32)
    whole = conf.with_words((0, 0), words, 0)
    parts = conf.with_words(conf.with_words((0, 0), words[:333], 0), words[333:], 333)
    rotated = [
        np.bitwise_xor.reduce([int(w) << i % m | int(w) >> 32 - i % m for i, w in enumerate(words)])
        & 0xFFFFFFFF
        for m in (29, 31)
    ]
    assert whole == parts == tuple(rotated)


def peak_bytes(asks) -> int:
    """Return the most memory that is held at once, numpy's arrays included."""
    asks()  # what is compiled and imported once
    tracemalloc.start()
    asks()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("form", ["milc", "ildg", "openqcd"])
def test_memory_does_not_grow_with_the_file(tmp_path, form):
    # 16 times as many slices of 0.6 MB: read whole they are 10 MB, and this test would fail.
    peaks: dict[int, list[int]] = {}
    for n_time in (2, 32):
        slim = SU3.replace(side=8, n_time=n_time, start="cold")
        path = files.write(links_of(slim), tmp_path / f"{n_time}", form)
        peaks[n_time] = [
            peak_bytes(lambda path=path: files.check(path)),
            peak_bytes(lambda path=path: files.read(path, times=range(1))),
            peak_bytes(lambda path=path: files.read(path, times=range(1), checked=False)),
            peak_bytes(lambda path=path: files.convert(path, tmp_path / "other", "nersc")),
        ]
    for short, long in zip(peaks[2], peaks[32], strict=True):
        assert long < short + 1e6
    assert peak_bytes(lambda: files.read(tmp_path / "32")) > 1e7


def test_progress_is_told_and_a_stop_leaves_no_file(field, tmp_path, monkeypatch):
    path, told = files.write(field, tmp_path / "links", "nersc"), []
    files.check(path, progress=lambda done, of: told.append((done, of)))
    assert told == [(n, 6) for n in range(1, 7)]

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.check(path, progress=stop)
    add = conf.Recomputed.add

    def add_some(recomputed: conf.Recomputed, links: np.ndarray) -> None:
        if recomputed._last is not None:
            raise KeyboardInterrupt
        add(recomputed, links)

    monkeypatch.setattr(conf.Recomputed, "add", add_some)
    with pytest.raises(KeyboardInterrupt):
        files.write(field, tmp_path / "other", "nersc")
    assert [each.name for each in tmp_path.iterdir()] == ["links"]


# From format to format


@pytest.mark.parametrize("form", files.FORMATS)
@pytest.mark.parametrize("source", ["openqcd", "milc_text", "ildg"])
def test_any_format_becomes_any_other(field, tmp_path, source, form):
    first = files.write(field, tmp_path / "first", source)
    read = files.read(files.convert(first, tmp_path / "second", form))
    np.testing.assert_allclose(read["field"], field, atol=1e-7)
    assert read["passed"].all()


def test_a_damaged_file_is_not_converted(field, tmp_path):
    raw = bytearray(files.write(field, tmp_path / "links", "nersc").read_bytes())
    raw[-1000] ^= 1
    (tmp_path / "links").write_bytes(raw)
    with pytest.raises(ConfigurationError, match="CHECKSUM"):
        files.convert(tmp_path / "links", tmp_path / "other", "ildg")
    assert not (tmp_path / "other").exists()


def test_su4_goes_through_the_formats_that_have_it(tmp_path):
    rng = np.random.default_rng(5)
    links, _ = np.linalg.qr(rng.normal(size=(2, 2, 2, 2, 4, 4, 4)) + 1j)
    parts = np.ascontiguousarray(links).view(np.float64).reshape(*links.shape, 2)
    field = xr.DataArray(parts, dims=("t", "x", "y", "z", "direction", "row", "column", "part"))
    for form in ("nersc", "ildg", "scidac"):
        read = files.check(files.write(field, tmp_path / form, form))
        assert (read.attrs["group"], bool(read["passed"].all())) == ("SU(4)", True)


# openQ*D's photons


def test_photons_are_read_and_their_plaquette_is_that_of_the_compact_links(field, tmp_path):
    photons = photons_of()
    path = files.write(field, tmp_path / "links", "openqcd", photons=photons)
    n_sites = 6 * 8
    assert path.stat().st_size == 24 + 576 * n_sites + 8 + 32 * n_sites
    read = files.read(path)
    np.testing.assert_array_equal(read["photons"], photons)
    np.testing.assert_array_equal(read["field"], field)
    assert (read.attrs["group"], list(read["check"].values)) == (
        "SU(3) x U(1)",
        ["trace of a plaquette", "plaquette of photons"],
    )
    a, total = photons.values, 0.0  # the mean cosine, by another way
    for mu in range(4):
        for nu in range(mu):
            turned = a[..., mu] - a[..., nu] + np.roll(a[..., nu], -1, mu) - np.roll(a[..., mu], -1, nu)
            total += np.cos(turned).mean() / 6
    assert float(read["found"][1]) == pytest.approx(total, abs=1e-11)
    half = files.read(path, times=range(3, 5), checked=False)
    np.testing.assert_array_equal(half["photons"], photons[3:5])


def test_photons_that_are_no_numbers_are_refused(tmp_path):
    raw = bytearray(files.write(photons_of(), tmp_path / "photons", "openqcd").read_bytes())
    struct.pack_into("<d", raw, 24 + 8 * 50, np.inf)
    (tmp_path / "photons").write_bytes(raw)
    with pytest.raises(ConfigurationError, match="from being unitary"):
        files.read(tmp_path / "photons")


def test_photons_alone_are_a_file_too_and_have_no_place_in_others(field, tmp_path):
    path = files.write(photons_of(), tmp_path / "photons", "openqcd")
    assert path.stat().st_size == 24 + 32 * 48
    first = struct.unpack_from("<d", path.read_bytes(), 24)[0]
    assert first == photons_of().values[0, 0, 0, 1, 0]  # the first odd site, forward in time
    read = files.read(files.convert(path, tmp_path / "again", "openqcd"))
    np.testing.assert_array_equal(read["photons"], photons_of())
    with pytest.raises(ConfigurationError, match="photons have a place in openqcd's files alone"):
        files.write(field, tmp_path / "no", "nersc", photons=photons_of())


# What LIME's records say besides


def with_record(path: Path, kind: bytes, text: bytes) -> None:
    """Put one more message with one record behind a LIME file's."""
    head = struct.pack(">IHHQ128s", 0x456789AB, 1, 0xC000, len(text), kind)
    path.write_bytes(path.read_bytes() + head + text + bytes(-len(text) % 8))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (b"xlf-info", b"plaquette = %.9f\n trajectory nr = 12\n beta = 6.0\n"),
        (b"scidac-record-xml", b"<usqcdInfo><version>1.0</version><plaq>%.6e</plaq></usqcdInfo>"),
    ],
)
def test_a_plaquette_in_a_comment_is_held_against_the_field(field, tmp_path, kind, text):
    path = files.write(field, tmp_path / "links", "ildg")
    plain = path.read_bytes().replace(b"scidac-record-xml", b"scidac-record-xm_")
    true = float(files.read(path)["plaquette"])
    for stated, passes in ((true, True), (true + 0.01, False)):
        path.write_bytes(plain)
        with_record(path, kind, text % stated)
        if passes:
            assert f"plaquette of {kind.decode()}" in files.read(path)["check"].values
            continue
        with pytest.raises(ConfigurationError, match=f"plaquette of {kind.decode()} is .* stated is"):
            files.read(path)


def test_a_second_field_in_a_lime_file_is_refused_by_name(field, tmp_path):
    path = files.write(field, tmp_path / "links", "ildg")
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(ConfigurationError, match="there is more than one record ildg-binary-data"):
        files.read(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', "document type"),
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"), "document type"),
        (b"<a>" * 40 + b"</a>" * 40, "more than 32 elements deep"),
        (b"<a>" + bytes([32]) * (1 << 20) + b"</a>", "bytes, 1048576 are the most"),
        (b"<a><b></a>", "mismatched tag"),
    ],
)
def test_hostile_xml_is_refused_in_files_and_in_documents(field, tmp_path, text, match):
    (tmp_path / "document").write_bytes(text)
    with pytest.raises(ConfigurationError, match=f"document is no valid XML: .*{match}"):
        qcdml.read(tmp_path / "document")
    path = files.write(field, tmp_path / "links", "ildg")
    path.write_bytes(path.read_bytes().replace(b"ildg-format", b"ildg-forma_"))
    with_record(path, b"ildg-format", text)
    with pytest.raises(ConfigurationError, match=f"record ildg-format is no valid XML: .*{match}"):
        files.read(path)


# QCDml

ORIGIN = Origin(
    *("lfn://example/b6.00/0100", "mc://example/b6.00", 100, "A. Person", "An Institute & Sons"),
    *("a cluster", "x86_64", "physics-twins", "1.0", "2026-01-31T12:00:00+00:00"),
    parameters={"heatbaths": 1},
)
ENSEMBLE = """<markovChain xmlns="http://www.lqcd.org/ildg/QCDml/ensemble2.0">
<markovChainURI>mc://example/b6.00</markovChainURI><management><collaboration>Some</collaboration>
<projectName>quenched</projectName><archiveHistory/></management><!-- a comment --><physics>
<size><x>8</x><y>8</y><z>8</z><t>16</t></size><action><gluon><plaquetteGluonAction><gluonField>
<gaugeGroup>SU(3)</gaugeGroup></gluonField><beta>6.0</beta></plaquetteGluonAction></gluon></action>
</physics></markovChain>"""


def test_a_document_is_written_read_and_held_against_its_file(field, tmp_path):
    path = files.write(field, tmp_path / "links", "ildg")
    document = files.document(path, tmp_path / "config.xml", ORIGIN)
    facts = qcdml.read(document)
    wanted = {"update": "100", "precision": "double", "field": "su3gauge", "code": "physics-twins 1.0"}
    assert facts | wanted == facts
    whole = path.read_bytes()
    assert whole.count(b"lfn://physics-twins/links") == 1
    path.write_bytes(whole.replace(b"lfn://physics-twins/links", ORIGIN.lfn.encode().ljust(25)))
    read = files.check(path, document=document)
    names = ["precision", "field", "dataLFN", "avePlaquette", "crcCheckSum"]
    assert list(read["check"].values) == ["suma", "sumb", *names]
    assert read["passed"].all()
    assert "update 100" in files.told(read)
    assert read.attrs["qcdml_markovChainURI"] == ORIGIN.chain
    path.write_bytes(whole)
    with pytest.raises(ConfigurationError, match="dataLFN is lfn://physics-twins/links"):
        files.check(path, document=document)


def test_the_documents_checksum_is_that_of_the_command_cksum(field, tmp_path):
    if not (cksum := shutil.which("cksum")):
        pytest.skip("there is no cksum here")
    raw = files.write(field, tmp_path / "links", "ildg").read_bytes()
    start = raw.index(b"ildg-binary-data") + 128
    data = raw[start : start + 48 * 4 * 144]
    told = subprocess.run([cksum], input=data, capture_output=True, check=True).stdout.split()[0]
    files.document(tmp_path / "links", tmp_path / "config.xml", ORIGIN)
    assert qcdml.read(tmp_path / "config.xml")["crcCheckSum"] == told.decode()


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("<update>100</update>", "", "gaugeConfiguration has no update"),
        ("su3gauge", "su2gauge", "field is su3gauge, stated is su2gauge"),
        (">double<", ">single<", "precision is double, stated is single"),
        ("<avePlaquette>", "<avePlaquette>1", "avePlaquette is .*, stated is 1"),
        ("<crcCheckSum>", "<crcCheckSum>1", "crcCheckSum is"),
        ("<avePlaquette>", "<avePlaquette>x", "avePlaquette = x.* is no number"),
        ("gaugeConfiguration", "gaugeConfig", "root must be gaugeConfiguration or markovChain"),
    ],
)
def test_a_document_of_another_field_is_refused_by_name(field, tmp_path, old, new, match):
    path = files.write(field, tmp_path / "links", "ildg")
    document = files.document(path, tmp_path / "config.xml", ORIGIN)
    document.write_text(document.read_text().replace(old, new))
    with pytest.raises(ConfigurationError, match=match):
        files.check(path, document=document)


def test_an_ensembles_document_says_what_was_simulated(field, tmp_path):
    (tmp_path / "ensemble.xml").write_text(ENSEMBLE)
    facts = qcdml.read(tmp_path / "ensemble.xml")
    assert facts["gluonAction"] == "plaquetteGluonAction"
    assert (facts["collaboration"], facts["beta"], facts["size"]) == ("Some", "6.0", "8 8 8 16")
    path = files.write(field, tmp_path / "links", "ildg")
    with pytest.raises(ConfigurationError, match="one of an ensemble, of no configuration"):
        files.check(path, document=tmp_path / "ensemble.xml")


# The command


def test_the_commands_check_and_convert(field, tmp_path):
    from typer.testing import CliRunner

    from physics_twins.cli.__main__ import app

    path, ask = files.write(field, tmp_path / "links", "ildg"), CliRunner().invoke
    document = files.document(path, tmp_path / "config.xml", ORIGIN)
    wrong = ask(app, ["lattice", "check", str(path), "--qcdml", str(document)])
    assert "dataLFN" in str(wrong.exception)
    other = tmp_path / "other"
    assert ask(app, ["lattice", "convert", str(path), str(other), "--to", "openqcd"]).exit_code == 0
    assert files.check(other).attrs["format"] == "openQCD"
    unknown = ask(app, ["lattice", "convert", str(path), str(other), "--to", "hdf"])
    assert "the format must be one of milc" in str(unknown.exception)


@pytest.mark.parametrize(("name", "match"), [("folder", "is a folder"), ("empty", "is empty")])
def test_what_is_no_file_is_refused_in_words(tmp_path, name, match):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigurationError, match=match):
        files.check(tmp_path / name)


FORMS_IN_SINGLE: tuple[Format, ...] = ("nersc", "ildg", "scidac")


@pytest.mark.parametrize("form", FORMS_IN_SINGLE)
def test_a_file_of_single_precision_stays_one(field, tmp_path, form):
    first = files.write(field, tmp_path / "first", "milc")
    assert files.check(files.convert(first, tmp_path / "second", form)).attrs["number"] == ">f4"
