"""The filterbank reader and writer."""

import io
import struct
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pulsar_files import blocks

from physics_twins.data import changed, noted
from physics_twins.pulsar.files import (
    FilterbankError,
    FilterbankHeader,
    FilterbankReader,
    FilterbankWriter,
    write_dataset,
)
from physics_twins.pulsar.formats.observation_file import SAMPLE_TYPES, ObservationWarning
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.simulate import simulate

HEADER = FilterbankHeader(
    n_channels=16,
    n_bits=8,
    first_frequency_mhz=1500.0,
    channel_width_mhz=-1.0,
    sampling_time_s=1e-3,
    start_mjd=60000.5,
    source_name="J0000+0000",
    others=(("telescope_id", 8), ("src_raj", 123456.7), ("rawdatafile", "x.fil")),
)


def spectra(n_bits: int, n_time: int = 10, n_channels: int = 16) -> np.ndarray:
    rng = np.random.default_rng(3)
    if n_bits == 32:
        return rng.normal(size=(n_time, n_channels)).astype("<f4")
    return rng.integers(0, 2**n_bits, (n_time, n_channels)).astype(SAMPLE_TYPES[n_bits])


def write(path: Path, header: FilterbankHeader, data: np.ndarray) -> Path:
    with FilterbankWriter(path, header) as file:
        file.write(data)
    return path


def text(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


def raw_file(path: Path, keywords: dict[str, bytes], data: bytes = b"\0" * 160) -> Path:
    """Write a file keyword by keyword, sound or not."""
    sound = {
        "nchans": struct.pack("<i", 16),
        "nbits": struct.pack("<i", 8),
        "nifs": struct.pack("<i", 1),
        "tsamp": struct.pack("<d", 1e-3),
        "fch1": struct.pack("<d", 1500.0),
        "foff": struct.pack("<d", -1.0),
    }
    out = io.BytesIO()
    out.write(text("HEADER_START"))
    for name, value in (sound | keywords).items():
        out.write(text(name) + value)
    out.write(text("HEADER_END") + data)
    path.write_bytes(out.getvalue())
    return path


@pytest.mark.parametrize("n_bits", SAMPLE_TYPES)
@pytest.mark.parametrize("channel_width_mhz", [-1.0, 1.0])
def test_a_file_reads_back_bit_for_bit(tmp_path, n_bits, channel_width_mhz):
    header = replace(HEADER, n_bits=n_bits, channel_width_mhz=channel_width_mhz)
    data = spectra(n_bits)
    path = write(tmp_path / "a.fil", header, data)
    with FilterbankReader(path) as file:
        assert file.header == header
        assert file.n_spectra == 10
        np.testing.assert_array_equal(file.read(0, 10), data)
        np.testing.assert_array_equal(file.read(3, 4), data[3:7])
        copy = write(tmp_path / "b.fil", file.header, np.concatenate([*blocks(file, 3)]))
    assert copy.read_bytes() == path.read_bytes()


def test_the_first_channel_is_in_the_lowest_bits(tmp_path):
    # SIGPROC's own order: the first sample of a byte is in its least significant bits.
    data = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 1]], dtype=np.uint8)
    path = write(tmp_path / "a.fil", replace(HEADER, n_bits=1, n_channels=8), data)
    assert path.read_bytes()[-2:] == bytes([0b00000001, 0b10000011])


def test_a_simulated_observation_survives_a_file(tmp_path):
    observation = simulate(ObservationParameters(duration_s=0.1, n_channels=32), seed=1)
    write_dataset(observation, tmp_path / "a.fil")
    with FilterbankReader(tmp_path / "a.fil") as file:
        back = file.dataset()
    np.testing.assert_array_equal(back["data"], observation["data"])
    np.testing.assert_allclose(back["frequency"], observation["frequency"], rtol=1e-12)
    np.testing.assert_allclose(back["time"], observation["time"], rtol=1e-12)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"nchans": struct.pack("<i", 0)}, "nchans = 0"),
        ({"nchans": struct.pack("<i", -5)}, "nchans = -5"),
        ({"nchans": struct.pack("<i", 2**30)}, "nchans = 1073741824"),
        ({"nbits": struct.pack("<i", 7)}, "nbits = 7"),
        ({"nbits": struct.pack("<i", 1), "nchans": struct.pack("<i", 9)}, "whole bytes"),
        ({"nifs": struct.pack("<i", 2)}, "nifs = 2"),
        ({"signed": b"\1", "nbits": struct.pack("<i", 16)}, "signed = 1"),
        ({"tsamp": struct.pack("<d", 0.0)}, "tsamp = 0"),
        ({"tsamp": struct.pack("<d", float("nan"))}, "tsamp = nan"),
        ({"foff": struct.pack("<d", 0.0)}, "foff = 0"),
        ({"fch1": struct.pack("<d", 5.0)}, "fch1, foff"),
        ({"fla vour": struct.pack("<i", 1)}, "'fla vour': unknown keyword"),
        ({"flavour": bytes(range(1, 14))}, "'flavour': unknown keyword"),
        ({"FREQUENCY_START": b""}, "FREQUENCY_START"),
        ({"source_name": struct.pack("<i", 2**31 - 1)}, "source_name: a text of 2147483647 bytes"),
        ({"source_name": struct.pack("<i", -1)}, "source_name: a text of -1 bytes"),
    ],
)
def test_a_header_that_lies_is_refused_by_file_and_field(tmp_path, keywords, message):
    path = raw_file(tmp_path / "bad.fil", keywords)
    with pytest.raises(FilterbankError) as error:
        FilterbankReader(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"nsamples": struct.pack("<i", 1000)}, "nsamples = 1000, but the data hold 10 spectra"),
        ({"nsamples": struct.pack("<i", 3)}, "nsamples = 3, but the data hold 10 spectra"),
        ({"nsamples": struct.pack("<i", -1)}, "nsamples = -1"),
        ({"flavour": struct.pack("<i", 1)}, "words flavour are not known"),
        ({"flavour": struct.pack("<d", 1.5)}, "words flavour are not known"),
        ({"flavour": struct.pack("<i", 3) + b"up!"}, "words flavour are not known"),
        ({"flavour": b"\1"}, "words flavour are not known"),
        ({"flavour": b""}, "words flavour are not known"),
    ],
)
def test_a_header_with_stale_or_unknown_words_is_read_and_told(tmp_path, keywords, told):
    sound = raw_file(tmp_path / "sound.fil", {})
    path = raw_file(tmp_path / "odd.fil", keywords)
    with pytest.warns(ObservationWarning, match=told):
        opened = FilterbankReader(path)
    with opened as file:
        assert file.assumptions[0] in file.dataset().attrs["assumed"]
        found = file.read(0, file.n_spectra)
    with FilterbankReader(sound) as file:
        assert file.assumptions == []
        np.testing.assert_array_equal(found, file.read(0, file.n_spectra))


def test_a_last_spectrum_that_is_cut_is_left_out_and_told(tmp_path):
    path = raw_file(tmp_path / "a.fil", {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(ObservationWarning, match="behind 9 spectra"), FilterbankReader(path) as file:
        assert file.n_spectra == 9


def test_signed_bytes_are_read_as_such(tmp_path):
    sound = raw_file(tmp_path / "a.fil", {})
    signed = raw_file(tmp_path / "b.fil", {"signed": b"\1"})
    with FilterbankReader(sound) as a, FilterbankReader(signed) as b:
        expected = a.read(0, 10).view(np.int8).astype(int) + 128
        np.testing.assert_array_equal(b.read(0, 10), expected)


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"tsamp": 64.0}, "sampling time of 64 s is taken for 64 us"),
        ({"fch1": 1.5e9, "foff": -1e6}, "1500000000 MHz is taken for Hz"),
        ({"fch1": 1.5e6, "foff": -1e3}, "1500000 MHz is taken for kHz"),
    ],
)
def test_a_value_in_another_unit_is_understood_and_told(tmp_path, keywords, told):
    raw = {name: struct.pack("<d", value) for name, value in keywords.items()}
    path = raw_file(tmp_path / "odd.fil", raw)
    with pytest.warns(ObservationWarning, match=told):
        opened = FilterbankReader(path)
    with opened as file:
        if "tsamp" in keywords:
            assert file.header.sampling_time_s == pytest.approx(64e-6)
        else:
            assert file.header.first_frequency_mhz == pytest.approx(1500.0)
            assert file.header.channel_width_mhz == pytest.approx(-1.0)


def test_what_the_user_says_of_a_file_comes_before_its_header(tmp_path):
    path = raw_file(tmp_path / "a.fil", {"tsamp": struct.pack("<d", 64.0)})
    beside = tmp_path / "a.fil.header.json"
    beside.write_text('{"sampling_time_s": 2.0, "source_name": "B0833-45"}')
    with pytest.warns(ObservationWarning, match="sampling_time_s = 2"), noted() as read:
        opened = FilterbankReader(path)
    with opened as file:
        assert (file.header.sampling_time_s, file.header.source_name) == (2.0, "B0833-45")
    beside.write_text("{}")
    assert changed(read) == read[:1]
    for wrong, told in (
        ('{"n_bits": 8}', "n_bits: may only be one of"),
        ('{"sampling_time_s": "fast"}', "expected a float"),
        ("[]", "must hold a JSON object"),
    ):
        beside.write_text(wrong)
        with pytest.raises(FilterbankError, match=told):
            FilterbankReader(path)


@pytest.mark.parametrize("name", ["nchans", "nbits", "tsamp", "fch1", "foff"])
def test_a_missing_field_is_named(tmp_path, name):
    path = raw_file(tmp_path / "bad.fil", {})
    raw = path.read_bytes()
    start = raw.index(text(name))
    length = len(text(name)) + (8 if name in ("tsamp", "fch1", "foff") else 4)
    path.write_bytes(raw[:start] + raw[start + length :])
    with pytest.raises(FilterbankError, match=f"{name}: missing"):
        FilterbankReader(path)


@pytest.mark.parametrize("content", [b"", b"\0", b"GIF89a" * 100, text("HEADER_STOP"), b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "bad.fil").write_bytes(content)
    with pytest.raises(FilterbankError, match=r"bad\.fil: HEADER_START"):
        FilterbankReader(tmp_path / "bad.fil")


def test_a_file_cut_anywhere_is_refused_or_read_as_far_as_it_goes(tmp_path):
    raw = write(tmp_path / "a.fil", HEADER, spectra(8)).read_bytes()
    header_bytes = len(raw) - 160
    for n_bytes in range(len(raw)):
        (tmp_path / "cut.fil").write_bytes(raw[:n_bytes])
        if n_bytes >= header_bytes:
            is_whole = (n_bytes - header_bytes) % 16 == 0  # a shorter observation
            with nullcontext() if is_whole else pytest.warns(ObservationWarning, match="are cut"):
                FilterbankReader(tmp_path / "cut.fil").close()
            continue
        with pytest.raises(FilterbankError, match=r"cut\.fil: \w+"):
            FilterbankReader(tmp_path / "cut.fil")


def test_a_partial_spectrum_is_left_out_when_asked(tmp_path):
    path = write(tmp_path / "a.fil", HEADER, spectra(8))
    path.write_bytes(path.read_bytes()[:-3])
    with FilterbankReader(path, drop_partial=True) as file:
        assert file.n_spectra == 9


def test_a_file_that_shrinks_while_open_is_noticed(tmp_path):
    path = write(tmp_path / "a.fil", HEADER, spectra(8, n_time=10000))
    with FilterbankReader(path) as file:
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(FilterbankError, match="bytes expected"):
            file.read(9000, 1000)


def test_a_range_outside_the_file_is_refused(tmp_path):
    with FilterbankReader(write(tmp_path / "a.fil", HEADER, spectra(8))) as file:
        for start, count in [(0, 11), (-1, 2), (10, 1), (3, -1)]:
            with pytest.raises(ValueError, match="not within 0 to 10"):
                file.read(start, count)


def test_values_that_do_not_fit_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="whole numbers from 0 to 3"),
        FilterbankWriter(tmp_path / "a.fil", replace(HEADER, n_bits=2)) as file,
    ):
        file.write(np.full((1, 16), 4, dtype=np.uint8))
    assert not (tmp_path / "a.fil").exists()


def test_a_file_takes_its_name_only_when_complete(tmp_path):
    writer = FilterbankWriter(tmp_path / "a.fil", HEADER)
    writer.write(spectra(8))
    assert not (tmp_path / "a.fil").exists()
    writer.close()
    assert (tmp_path / "a.fil").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")  # ours: what was assumed
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_damage_gives_our_own_error_or_a_readable_file(tmp_path, data):
    raw = bytearray(write(tmp_path / "a.fil", HEADER, spectra(8)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "b.fil").write_bytes(raw)
    try:
        with FilterbankReader(tmp_path / "b.fil") as file:
            assert file.read(0, file.n_spectra).shape == (file.n_spectra, file.header.n_channels)
    except FilterbankError:
        pass
