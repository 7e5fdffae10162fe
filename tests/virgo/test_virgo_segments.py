"""Segments and triggers on disk: old and new XML, JSON, and documents that mean harm."""

import gzip
import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import real_file

from physics_twins.virgo import segments
from physics_twins.virgo.formats.strain_file import StrainFileError
from physics_twins.virgo.segments import Flag

GPS = 1_400_000_000
FLAG = Flag(
    "V1", "GLITCH-WITNESSED", 2, np.array([[GPS + 1.25, GPS + 1.5], [GPS + 7, GPS + 9]]),
    np.array([[GPS, GPS + 64]]), 'said to be "seen", by\\of ENV_ACC_DET & <others>',
)  # fmt: skip


def same(first, second):
    return (
        (first.full_name, first.comment) == (second.full_name, second.comment)
        and np.array_equal(first.active, second.active)
        and np.array_equal(first.known, second.known)
    )


def test_the_old_form_with_text_for_ids_is_read_as_its_text_file_says():
    found = segments.read_flags(real_file("virgo/X1-GWPY_TEST_SEGMENTS-0-10.xml.gz"))
    expected = np.loadtxt(real_file("virgo/X1-GWPY_TEST_SEGMENTS-0-10.txt"))[:, 1:3]
    assert [flag.full_name for flag in found] == ["X1:GWPY-TEST_SEGMENTS:1", "X1:GWPY-TEST_SEGMENTS:2"]
    np.testing.assert_array_equal(found[0].active, expected)
    np.testing.assert_array_equal(found[0].known, [[0, 3], [6, 7]])
    np.testing.assert_array_equal(found[1].active, [[100, 101], [110, 120]])


def test_quality_of_gwoscs_files_becomes_flags():
    found = segments.read_flags(real_file("virgo/L-L1_LOSC_4_V2-1126259446-32.hdf5"))
    assert [flag.name for flag in found][:2] == ["DATA", "CBC_CAT1"]
    np.testing.assert_array_equal(found[0].active, [[1126259446, 1126259478]])
    assert found[0].ifo == "L1"


@pytest.mark.parametrize("name", ["f.xml", "f.xml.gz", "f.json"])
def test_a_flag_is_read_as_it_was_written(tmp_path, name):
    (again,) = segments.read_flags(segments.write_flags([FLAG], tmp_path / name))
    assert same(again, FLAG)


times = st.floats(0, 2e9, allow_nan=False).filter(lambda t: t == round(t, 9))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(times, times).map(sorted), max_size=5),
    st.text().filter(str.isprintable),
)
def test_any_segments_and_any_words_come_back_from_xml(tmp_path_factory, spans, comment):
    path = tmp_path_factory.mktemp("x") / "f.xml"
    flags = [Flag("V1", "A", 1, spans, comment=comment.strip()), FLAG]
    again = segments.read_flags(segments.write_flags(flags, path))
    assert same(again[1], FLAG)
    # Nanoseconds are finer than a double near 2e9, and coarser than one near 0.
    np.testing.assert_allclose(again[0].active, flags[0].active, rtol=0, atol=6e-10)
    assert again[0].comment == flags[0].comment


def test_segments_that_overlap_or_touch_are_joined():
    flag = Flag("V1", "A", 1, [[5, 7], [1, 3], [2, 4], [7, 8]])
    np.testing.assert_array_equal(flag.active, [[1, 4], [5, 8]])


@pytest.mark.parametrize("spans", [[[2, 1]], [[np.nan, 1]], [[0, 1e12]]])
def test_what_is_no_segment_is_refused(spans):
    with pytest.raises(
        StrainFileError, match="V1:A:1: active: every segment must be a start and a later"
    ):
        Flag("V1", "A", 1, spans)


def test_triggers_are_read_as_they_were_written(tmp_path):
    put = xr.Dataset(
        {
            "time": ("trigger", GPS + np.array([0.25, 3.0001]), {"units": "s"}),
            "frequency": ("trigger", [40.0, 120.5], {"units": "Hz"}),
            "snr": ("trigger", [8.25, 30.0], {"units": "1"}),
        },
        attrs={"ifo": "V1", "channel": "V1:ENV_ACC_DET"},
    )
    again = segments.read_triggers(segments.write_triggers(put, tmp_path / "t.xml.gz"))
    xr.testing.assert_identical(again, put)


LAUGHS = """<?xml version="1.0"?><!DOCTYPE LIGO_LW [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<LIGO_LW><Comment>&b;</Comment></LIGO_LW>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE LIGO_LW [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<LIGO_LW><Comment>&a;</Comment></LIGO_LW>"""
TABLE = (
    '<LIGO_LW><Table Name="segment_definer:table"><Column Name="{column}" Type="{kind}"/>{stream}'
    "</Table></LIGO_LW>"
)
STREAM = '<Stream Name="s" Delimiter="," Type="{where}">{text}</Stream>'


def table(text="1", column="segment_def_id", kind="int_8s", where="Local"):
    return TABLE.format(column=column, kind=kind, stream=STREAM.format(where=where, text=text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "DOCTYPE: the document declares entities"),
        (OUTSIDE, "DOCTYPE: the document declares entities"),
        ("<LIGO_LW><Comment></LIGO_LW>", "no well-formed LIGO_LW XML"),
        ("<html/>", "html: the document must begin with LIGO_LW"),
        ("<LIGO_LW>" * 40 + "</LIGO_LW>" * 40, "more than 32 elements in each other"),
        ("<LIGO_LW/>", "there is no table segment_definer, but none"),
        (table("x"), "segment_def_id must be of type int_8s, found 'x'"),
        (table('"a" b'), "entry 0 is no value"),
        (table(kind="blob"), "column 'segment_def_id' of type 'blob' is not known"),
        (table(where="Remote"), "a stream elsewhere"),
        (table(), "segment_definer: there is no column ifos, name, version"),
    ],
)
def test_documents_that_are_damaged_or_mean_harm_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "f.xml"
    path.write_text(text)
    with pytest.raises(StrainFileError, match=message) as refused:
        segments.read_flags(path)
    assert str(path) in str(refused.value)


def test_a_document_that_unpacks_without_end_is_refused(tmp_path):
    path = tmp_path / "f.xml.gz"
    path.write_bytes(gzip.compress(b" " * (65 << 20)))
    with pytest.raises(StrainFileError, match="more than 64 MiB of XML"):
        segments.read_flags(path)


def test_long_runs_of_blanks_cost_no_more_than_their_length(tmp_path):
    path = tmp_path / "f.xml"
    path.write_text(table(" " * 2_000_000 + '"a" b'))
    with pytest.raises(StrainFileError, match="is no value"):
        segments.read_flags(path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("{", "no JSON of ifo, name, version, active and known"),
        ("[" * 100_000, "no well-formed"),
        ('{"a":' * 100_000, "no JSON of ifo"),
        (json.dumps({"ifo": "V1", "name": "A", "version": 1, "active": [[1, 2]]}), "KeyError.*known"),
        (json.dumps({"ifo": "V1", "name": "A", "version": 1, "active": [1], "known": []}), "lists of"),
        (
            json.dumps({"ifo": "V1", "name": "A", "version": 1, "active": [["x", 2]], "known": []}),
            "could not convert",
        ),
    ],
)
def test_json_that_is_no_flag_is_refused(tmp_path, held, message):
    path = tmp_path / "f.json"
    path.write_text(held)
    with pytest.raises(StrainFileError, match=message):
        segments.read_flags(path)


@pytest.mark.parametrize("name", ["f.xml", "f.xml.gz", "f.json"])
def test_cuts_and_flipped_bits_raise_nothing_but_the_error_of_such_files(tmp_path, name):
    path = segments.write_flags([FLAG], tmp_path / name)
    raw, rng = path.read_bytes(), np.random.default_rng(3)
    refused = 0
    damaged = [raw[:n] for n in range(0, len(raw), 5)]
    for _ in range(300):
        flipped = bytearray(raw)
        flipped[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for each in damaged:
        path.write_bytes(each)
        try:
            segments.read_flags(path)
        except StrainFileError as error:
            refused += str(path) in str(error)
    assert refused > len(raw) // 5  # every cut


def test_flags_and_triggers_that_no_file_takes_are_refused(tmp_path):
    with pytest.raises(StrainFileError, match="2 flags: expected one for"):
        segments.write_flags([FLAG, FLAG], tmp_path / "f.json")
    with pytest.raises(StrainFileError, match="holds what XML does not"):
        segments.write_flags([Flag("V1", "A\0", 1, [])], tmp_path / "f.xml")
    with pytest.raises(FileNotFoundError, match="there is no file of segments"):
        segments.read_flags(tmp_path / "none.xml")
    with pytest.raises(FileNotFoundError, match="there is no file of triggers"):
        segments.read_triggers(tmp_path / "none.xml")
