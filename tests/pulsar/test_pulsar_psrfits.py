"""PSRFITS search-mode files: what is read, what is written, what is refused."""

import re
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pulsar_files import FREQUENCY_MHZ, blocks, psrfits
from real_files import real_file

from physics_twins.pulsar.files import open_observation, write_dataset
from physics_twins.pulsar.formats.observation_file import FilterbankHeader, ObservationWarning
from physics_twins.pulsar.formats.psrfits import PsrfitsError, PsrfitsReader
from physics_twins.pulsar.formats.psrfits_writer import DEPTHS, PsrfitsWriter
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.simulate import simulate
from physics_twins.pulsar.streams.piece_files import write_piece

HEADER = FilterbankHeader(16, 8, 1500.0, -1.0, 1e-3, 60000.5, "J0000+0000")
# The mandatory keywords of the definition's main header and SUBINT table in search mode.
PRIMARY_KEYWORDS = """HDRVER FITSTYPE DATE OBSERVER PROJID TELESCOP ANT_X ANT_Y ANT_Z FRONTEND IBEAM
NRCVR FD_POLN FD_HAND FD_SANG FD_XYPH BACKEND BECONFIG BE_PHASE BE_DCC BE_DELAY TCYCLE OBS_MODE DATE-OBS
OBSFREQ OBSBW OBSNCHAN CHAN_DM SRC_NAME COORD_MD EQUINOX RA DEC BMAJ BMIN BPA STT_CRD1 STT_CRD2 TRK_MODE
STP_CRD1 STP_CRD2 SCANLEN FD_MODE FA_REQ CAL_MODE CAL_FREQ CAL_DCYC CAL_PHS STT_IMJD STT_SMJD STT_OFFS
STT_LST"""
SUBINT_KEYWORDS = """INT_TYPE INT_UNIT SCALE NPOL POL_TYPE TBIN NBIN NBIN_PRD PHS_OFFS NBITS NSUBOFFS
NCHAN CHAN_BW NCHNOFFS NSBLK EXTNAME"""
SUBINT_COLUMNS = """TSUBINT OFFS_SUB LST_SUB RA_SUB DEC_SUB GLON_SUB GLAT_SUB FD_ANG POS_ANG PAR_ANG
TEL_AZ TEL_ZEN DAT_FREQ DAT_WTS DAT_OFFS DAT_SCL DATA"""


def spectra(n_bits: int, n_time: int = 40, n_channels: int = 16) -> np.ndarray:
    rng = np.random.default_rng(3)
    if n_bits == 32:
        return rng.normal(size=(n_time, n_channels)).astype("<f4")
    return rng.integers(0, 2**n_bits, (n_time, n_channels)).astype(np.uint8)


def write(path: Path, data: np.ndarray, header: FilterbankHeader = HEADER, **options) -> Path:
    with PsrfitsWriter(path, header, **options) as file:
        file.write(data)
    return path


def polarised(n_polarisations: int = 1, n_time: int = 24) -> np.ndarray:
    rng = np.random.default_rng(4)
    return rng.integers(0, 256, (n_time, n_polarisations, 16)).astype(np.uint8)


@pytest.mark.parametrize("n_bits", DEPTHS)
@pytest.mark.parametrize("width_mhz", [-1.0, 1.0])
def test_a_file_reads_back_bit_for_bit(tmp_path, n_bits, width_mhz):
    header = replace(HEADER, n_bits=n_bits, channel_width_mhz=width_mhz)
    data = spectra(n_bits, n_time=45)
    path = write(tmp_path / "a.sf", data, header, row_spectra=16)
    with open_observation(path) as file:
        assert isinstance(file, PsrfitsReader)
        assert (file.header, file.n_spectra) == (header, 45)
        np.testing.assert_array_equal(file.read(0, 45), data)
        np.testing.assert_array_equal(file.read(13, 22), data[13:35])
        pieces = np.concatenate([*blocks(file, 7)])
    with PsrfitsWriter(tmp_path / "b.sf", header, row_spectra=16) as copy:
        for start in range(0, 45, 11):
            copy.write(pieces[start : start + 11])
    date = re.compile(rb"DATE    = '.{19}'")
    assert date.sub(b"", (tmp_path / "b.sf").read_bytes()) == date.sub(b"", path.read_bytes())


@pytest.mark.parametrize("n_bits", [1, 2, 4, 8])
def test_the_first_channel_is_in_the_highest_bits_of_a_byte(tmp_path, n_bits):
    # astropy reads the table, independently: DATA as bytes, as in the definition.
    data = spectra(n_bits)
    path = write(tmp_path / "a.sf", data, replace(HEADER, n_bits=n_bits), row_spectra=8)
    with fits.open(path) as file:
        packed = file["SUBINT"].data["DATA"].reshape(-1)
    bits = np.unpackbits(packed).reshape(-1, n_bits)
    np.testing.assert_array_equal(bits @ (1 << np.arange(n_bits)[::-1]), data.reshape(-1))


def test_a_written_file_has_what_the_definition_demands(tmp_path):
    path = write(tmp_path / "a.sf", spectra(4, 20), replace(HEADER, n_bits=4), row_spectra=8)
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as file:
        file.verify("exception")
        primary, table = file[0].header, file["SUBINT"]
        assert [name for name in PRIMARY_KEYWORDS.split() if name not in primary] == []
        assert [name for name in SUBINT_KEYWORDS.split() if name not in table.header] == []
        assert table.columns.names == SUBINT_COLUMNS.split()
        assert (primary["OBS_MODE"], primary["FITSTYPE"], primary["OBSNCHAN"]) == (
            "SEARCH",
            "PSRFITS",
            16,
        )
        assert (primary["OBSFREQ"], primary["OBSBW"]) == (1492.5, -16.0)
        assert (primary["STT_IMJD"], primary["STT_SMJD"]) == (60000, 43200)
        assert primary["DATE-OBS"] == "2023-02-25T12:00:00.000"
        assert (table.header["NBITS"], table.header["NSBLK"], table.header["NSTOT"]) == (4, 8, 20)
        assert table.data["DATA"].shape == (3, 4, 1, 16, 1)
        np.testing.assert_allclose(table.data["OFFS_SUB"], [0.004, 0.012, 0.020])
        np.testing.assert_array_equal(table.data["DAT_FREQ"][0], FREQUENCY_MHZ)


def test_scales_offsets_and_weights_turn_samples_into_values(tmp_path):
    rng = np.random.default_rng(5)
    scale, offset, weight = rng.uniform(0.5, 2, (3, 16)).astype(np.float32)
    weight[3] = 0
    columns = {"DAT_SCL": scale, "DAT_OFFS": offset, "DAT_WTS": weight}
    columns = {name: np.tile(values, (3, 1)) for name, values in columns.items()}
    data = polarised()
    with PsrfitsReader(psrfits(tmp_path / "a.sf", data, columns=columns)) as file:
        # One rounding in 32 bits more or less than here.
        np.testing.assert_allclose(file.read(0, 24), (data[:, 0] * scale + offset) * weight, rtol=1e-6)


def test_a_table_of_another_program_is_read_with_its_own_scales_in_every_row(tmp_path):
    data = polarised()
    scale, offset = (
        np.arange(1, 49, dtype="f4").reshape(3, 16),
        np.arange(48, dtype="f4").reshape(3, 16),
    )
    columns = {"DAT_SCL": scale, "DAT_OFFS": offset}
    subint = {"ZERO_OFF": -0.5}
    path = psrfits(tmp_path / "a.sf", data, columns=columns, subint=subint, history=True)
    expected = (data[:, 0] - 0.5) * scale.repeat(8, 0) + offset.repeat(8, 0)
    with open_observation(path) as file:
        np.testing.assert_allclose(file.read(0, 24), expected, rtol=1e-6)
        np.testing.assert_allclose(file.read(15, 3), expected[15:18], rtol=1e-6)
        assert file.header.start_mjd == pytest.approx(60000.5 + 0.25 / 86400, abs=1e-10)


@pytest.mark.parametrize(
    ("n_polarisations", "kind", "taken", "statement"),
    [
        (1, "INTEN", (0,), "INTEN"),
        (2, "AABB", (0, 1), "total intensity: AA + BB of AABB"),
        (4, "AABBCRCI", (0, 1), "total intensity: AA + BB of AABBCRCI"),
        (4, "IQUV", (0,), "total intensity: I of IQUV"),
    ],
)
def test_polarisations_are_read_as_total_intensity_and_it_is_said_how(
    tmp_path, n_polarisations, kind, taken, statement
):
    data = polarised(n_polarisations)
    scale = np.tile(np.arange(1, n_polarisations + 1, dtype="f4").repeat(16), (3, 1))
    path = psrfits(tmp_path / "a.sf", data, subint={"POL_TYPE": kind}, columns={"DAT_SCL": scale})
    with open_observation(path) as file:
        expected = sum((p + 1) * data[:, p].astype(float) for p in taken)
        np.testing.assert_array_equal(file.read(0, 24), expected)
        assert file.dataset().attrs["polarisation"] == statement


@pytest.mark.parametrize(("kind", "n_bits"), [("i2", 16), ("f4", 32)])
def test_wide_samples_are_read(tmp_path, kind, n_bits):
    data = (polarised().astype(float) * 3 - 100).astype(kind)
    with open_observation(psrfits(tmp_path / "a.sf", data)) as file:
        assert file.header.n_bits == n_bits
        np.testing.assert_array_equal(file.read(0, 24), data[:, 0])


def test_signed_bytes_are_read_as_such(tmp_path):
    data = polarised()
    with open_observation(psrfits(tmp_path / "a.sf", data, subint={"SIGNINT": 1})) as file:
        np.testing.assert_array_equal(file.read(0, 24), data[:, 0].view(np.int8))


def test_values_units_and_order_are_those_of_a_filterbank_file(tmp_path):
    observation = simulate(ObservationParameters(duration_s=0.1, n_channels=32), seed=1)
    write_dataset(observation, tmp_path / "a.sf")
    write_dataset(observation, tmp_path / "a.fil")
    with open_observation(tmp_path / "a.sf") as sf, open_observation(tmp_path / "a.fil") as fil:
        one, other = sf.dataset(5, 100), fil.dataset(5, 100)
    np.testing.assert_array_equal(one["data"], other["data"])
    for name in ("time", "frequency", "data"):
        assert one[name].attrs == other[name].attrs
        assert one[name].dims == other[name].dims
        np.testing.assert_allclose(one[name], other[name], rtol=1e-14)
    assert one.attrs["start_mjd"] == pytest.approx(other.attrs["start_mjd"], abs=1e-10)


def test_channel_frequencies_in_32_bits_are_enough(tmp_path):
    rough = np.tile((FREQUENCY_MHZ + 1e-5).astype(np.float32), (3, 1))
    with open_observation(psrfits(tmp_path / "a.sf", polarised(), columns={"DAT_FREQ": rough})) as file:
        assert file.header.channel_width_mhz == -1.0
        np.testing.assert_allclose(file.header.frequency_mhz, FREQUENCY_MHZ, atol=1e-4)


def test_a_split_observation_starts_where_its_first_row_does(tmp_path):
    later = {"OFFS_SUB": (np.arange(3) + 100.5) * 8e-3}
    for columns, subint in ((later, {}), ({"OFFS_SUB": None}, {"NSUBOFFS": 100})):
        path = psrfits(tmp_path / "a.sf", polarised(), columns=columns, subint=subint)
        with open_observation(path) as file:
            assert file.header.start_mjd == pytest.approx(60000.5 + (0.25 + 0.8) / 86400, abs=1e-10)


NO_TIMES = np.zeros(3)
UNEQUAL = np.tile(FREQUENCY_MHZ + 0.5 * (FREQUENCY_MHZ == 1490), (3, 1))
NAN = np.full((3, 16), np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"primary": {"FITSTYPE": "IMAGE"}}, "FITSTYPE = 'IMAGE'"),
        ({"primary": {"OBS_MODE": "PSR"}}, "OBS_MODE = 'PSR': only search mode"),
        ({"primary": {"STT_IMJD": "soon"}}, "STT_IMJD = 'soon': expected a number"),
        ({"subint": {"NBITS": 3}}, "NBITS = 3"),
        ({"subint": {"NBITS": 0}}, "NBITS = 0"),
        ({"subint": {"NBITS": True}}, "NBITS = True: expected a number"),
        ({"subint": {"NBIN": 64}}, "NBIN = 64"),
        ({"subint": {"NCHAN": 0}}, "NCHAN = 0"),
        ({"subint": {"NCHAN": 2**40}}, "NCHAN = 1.09951e+12"),
        ({"subint": {"NCHAN": 32}}, "DATA has 128"),
        ({"subint": {"NPOL": 9}}, "NPOL = 9"),
        ({"subint": {"NPOL": 2}}, "POL_TYPE = 'AA+BB' with NPOL = 2"),
        ({"subint": {"NSBLK": 2**39}}, "NSBLK = 549755813888"),
        ({"subint": {"NSBLK": 7.5}}, "NSBLK = 7.5"),
        ({"subint": {"TBIN": 0.0}}, "TBIN = 0.0 s: must be positive"),
        ({"subint": {"TBIN": -1.0}}, "TBIN = -1.0 s: must be positive"),
        ({"columns": {"DATA": None}}, "DATA: there is no such column"),
        ({"columns": {"DAT_FREQ": None}}, "DAT_FREQ: there is no such column"),
        ({"columns": {"DAT_FREQ": np.ones((3, 5))}}, "DAT_FREQ: 5 values for 16 channels"),
        ({"columns": {"DAT_FREQ": UNEQUAL}}, "DAT_FREQ: the channels are not equally spaced"),
        ({"columns": {"DAT_FREQ": NAN}}, "DAT_FREQ"),
        ({"columns": {"OFFS_SUB": np.array([0.5, 1.5, 900.5]) * 8e-3}}, "898.0 rows would be missing"),
        ({"columns": {"OFFS_SUB": np.array([0.5, 0.5, 3.5]) * 8e-3}}, "not all begin where a row may"),
        ({"columns": {"OFFS_SUB": np.array([0.5, 1.9, 3.5]) * 8e-3}}, "not all begin where a row may"),
        ({"columns": {"OFFS_SUB": np.array([2.5, 1.5, 0.5]) * 8e-3}}, "-4.0 rows would be missing"),
        ({"columns": {"OFFS_SUB": np.full(3, np.nan)}}, "OFFS_SUB"),
    ],
)
def test_a_header_that_lies_is_refused_by_file_and_field(tmp_path, changes, message):
    path = psrfits(tmp_path / "bad.sf", polarised(), **changes)
    with pytest.raises(PsrfitsError) as error:
        PsrfitsReader(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["DAT_SCL", "DAT_OFFS", "DAT_WTS"])
def test_scales_that_are_no_numbers_are_refused_and_missing_ones_are_not(tmp_path, name):
    path = psrfits(tmp_path / "a.sf", polarised(), columns={name: NAN})
    expected = f"a.sf: SUBINT: {name} in row 1: not all"
    with PsrfitsReader(path) as file, pytest.raises(PsrfitsError, match=expected):
        file.read(8, 1)
    with PsrfitsReader(psrfits(tmp_path / "b.sf", polarised(), columns={name: None})) as file:
        np.testing.assert_array_equal(file.read(0, 24), polarised()[:, 0])


def test_rows_that_are_lost_hold_no_data_and_what_follows_keeps_its_time(tmp_path):
    middle_s = {"OFFS_SUB": np.array([0.5, 1.5, 4.5]) * 8e-3}
    path = psrfits(tmp_path / "a.sf", polarised(), columns=middle_s)
    with pytest.warns(ObservationWarning, match=r"2 rows of 0\.008 s are missing"):
        file = PsrfitsReader(path)
    with file:
        found, pieces = file.read(0, file.n_spectra), [*blocks(file, 7)]
        assert file.attributes["assumed"].startswith("2 rows of 0.008 s are missing")
    np.testing.assert_array_equal(found[:16], polarised()[:16, 0])
    assert np.isnan(found[16:32]).all()
    np.testing.assert_array_equal(found[32:], polarised()[16:, 0])
    np.testing.assert_array_equal(np.concatenate(pieces), found)


def test_a_piece_around_lost_rows_reads_as_they_do(tmp_path):
    middle_s = {"OFFS_SUB": np.array([0.5, 1.5, 4.5]) * 8e-3}
    psrfits(tmp_path / "a.sf", polarised(), columns=middle_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ObservationWarning)
        with open_spectra(tmp_path / "a.sf") as source:
            piece = write_piece(source, tmp_path, 10, 36)
            expected = source.source.read(10, 26)
    with PsrfitsReader(piece) as file:
        np.testing.assert_array_equal(file.read(0, 26), expected)


def test_rows_without_times_are_taken_as_following_each_other(tmp_path):
    with PsrfitsReader(psrfits(tmp_path / "a.sf", polarised(), columns={"OFFS_SUB": NO_TIMES})) as file:
        assert file.n_spectra == 24


def test_a_file_cut_anywhere_is_refused_or_read_as_far_as_it_goes(tmp_path):
    raw = psrfits(tmp_path / "a.sf", polarised()).read_bytes()
    with PsrfitsReader(tmp_path / "a.sf") as file:
        data_bytes = 3 * file._table.row_bytes
        start = file._table.start
    # In steps that come to every place in a card of 80 bytes: every byte would take half a minute.
    for n_bytes in [*range(0, start, 37), *range(start, start + data_bytes, 97)]:
        (tmp_path / "cut.sf").write_bytes(raw[:n_bytes])
        n_rows = max(0, n_bytes - start) // (data_bytes // 3)
        if n_rows:
            with pytest.warns(ObservationWarning, match=f"the file is cut: its {n_rows} rows are read"):
                file = PsrfitsReader(tmp_path / "cut.sf")
            with file:
                assert file.n_spectra == 8 * n_rows
            continue
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(PsrfitsError, match=r"cut\.sf: .*(ends inside|no such table|no rows)"),
        ):
            PsrfitsReader(tmp_path / "cut.sf")


def test_weights_that_were_never_set_are_not_taken_for_a_band_without_use(tmp_path):
    path = psrfits(tmp_path / "a.sf", polarised(), columns={"DAT_WTS": np.zeros((3, 16))})
    with pytest.warns(ObservationWarning, match="all weights"):
        file = PsrfitsReader(path)
    with file:
        np.testing.assert_array_equal(file.read(0, 24), polarised()[:, 0])


def test_samples_stored_with_an_offset_have_it_added(tmp_path):
    plain = psrfits(tmp_path / "a.sf", polarised())
    with fits.open(plain) as file:
        number = file["SUBINT"].columns.names.index("DATA") + 1
    psrfits(tmp_path / "b.sf", polarised(), subint={f"TZERO{number}": -128})
    with PsrfitsReader(tmp_path / "b.sf") as file:
        np.testing.assert_array_equal(file.read(0, 24), polarised()[:, 0] - 128.0)


def test_rows_that_are_not_complete_are_left_out_when_asked(tmp_path):
    path = psrfits(tmp_path / "a.sf", polarised())
    with PsrfitsReader(path) as file:
        end = file._table.start + 2 * file._table.row_bytes + 5
    path.write_bytes(path.read_bytes()[:end])
    with PsrfitsReader(path, drop_partial=True) as file:
        np.testing.assert_array_equal(file.read(0, file.n_spectra), polarised()[:16, 0])


def test_a_file_that_shrinks_while_open_is_noticed(tmp_path):
    path = write(tmp_path / "a.sf", spectra(8, n_time=5000), row_spectra=8)
    with PsrfitsReader(path) as file:
        path.write_bytes(path.read_bytes()[:20000])
        with pytest.raises(PsrfitsError, match="bytes expected"):
            file.read(4000, 100)


@pytest.mark.parametrize(
    "content", [b"", b"SIMPLE  =", b"GIF89a" * 1000, b"SIMPLE  =".ljust(2880), b"\xff" * 9000]
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "bad.sf").write_bytes(content)
    with pytest.raises(PsrfitsError, match=r"bad\.sf: "):
        PsrfitsReader(tmp_path / "bad.sf")


def test_a_header_without_end_is_not_read_whole(tmp_path):
    with (tmp_path / "bad.sf").open("wb") as file:
        file.write(b"SIMPLE  =                    T".ljust(2880))
        file.truncate(200_000_000)
    tracemalloc.start()
    with pytest.raises(PsrfitsError, match="no END in its first 1048576 bytes"):
        PsrfitsReader(tmp_path / "bad.sf")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_memory_while_streaming_grows_with_the_block_and_not_with_the_row(tmp_path):
    header = replace(HEADER, n_channels=256, channel_width_mhz=-0.01)
    path = write(tmp_path / "a.sf", spectra(8, 40000, 256), header, row_spectra=40000)
    with PsrfitsReader(path) as file:
        tracemalloc.start()
        for _ in blocks(file, 500):
            pass
        # A block is 0.13 MB in the file and 0.5 MB as 32-bit numbers; the row is 10 MB.
        assert tracemalloc.get_traced_memory()[1] < 3e6
        tracemalloc.stop()


def test_values_and_rows_that_do_not_fit_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="whole numbers from 0 to 3"),
        PsrfitsWriter(tmp_path / "a.sf", replace(HEADER, n_bits=2)) as file,
    ):
        file.write(np.full((1, 16), 4, dtype=np.uint8))
    assert not (tmp_path / "a.sf").exists()
    with pytest.raises(ValueError, match="row_spectra = 12"):
        PsrfitsWriter(tmp_path / "a.sf", HEADER, row_spectra=12)
    with pytest.raises(PsrfitsError, match="NBITS = 16"):
        PsrfitsWriter(tmp_path / "a.sf", replace(HEADER, n_bits=16))
    with pytest.raises(PsrfitsError, match="primary header"):
        PsrfitsWriter(tmp_path / "a.sf", replace(HEADER, source_name="Zürich"))


def test_a_real_file_has_the_spectra_of_its_filterbank_twin():
    paths = real_file("pulsar/askap_frb_28.fits"), real_file("pulsar/askap_frb_28.fil")
    with open_observation(paths[0]) as sf, open_observation(paths[1]) as fil:
        np.testing.assert_array_equal(sf.read(0, 5120), fil.read(0, 5120))
        assert sf.n_spectra == 7 * 789  # its last row is filled up, and the header does not say so
        assert replace(sf.header, others=()) == replace(fil.header, others=())


@pytest.mark.filterwarnings("ignore::UserWarning")  # ours: what was assumed
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_damage_gives_our_own_error_or_a_readable_file(tmp_path, data):
    path = tmp_path / "a.sf"
    raw = bytearray(path.read_bytes() if path.exists() else psrfits(path, polarised()).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "b.sf").write_bytes(raw)
    try:
        with PsrfitsReader(tmp_path / "b.sf") as file:
            count = min(file.n_spectra, 100)
            assert file.read(0, count).shape == (count, file.header.n_channels)
    except PsrfitsError:
        pass
