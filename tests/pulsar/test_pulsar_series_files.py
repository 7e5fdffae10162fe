"""PSRDADA files, and which file is taken for what."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pulsar_files import FREQUENCY_MHZ, dada, psrfits

from physics_twins.pulsar.files import open_observation, write_dataset
from physics_twins.pulsar.formats.observation_file import ObservationFileError, ObservationWarning
from physics_twins.pulsar.formats.psrdada import DadaError, DadaReader
from physics_twins.pulsar.formats.psrfits import PsrfitsReader
from physics_twins.pulsar.formats.sigproc import FilterbankHeader, FilterbankReader, FilterbankWriter
from physics_twins.pulsar.infer import excerpt, infer
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.simulate import simulate

RNG = np.random.default_rng(6)
BYTES = RNG.integers(0, 256, (20, 16)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["u1", "<u2", "<f4"])
def test_a_dada_file_reads_bit_for_bit(tmp_path, kind):
    data = (BYTES * 3.0).astype(kind)
    n_bits = 8 * np.dtype(kind).itemsize
    path = dada(tmp_path / "a.dada", data.tobytes(), {"NBIT": str(n_bits)})
    with open_observation(path) as file:
        assert isinstance(file, DadaReader)
        assert file.header == FilterbankHeader(16, n_bits, 1500.0, -1.0, 1e-3, 60000.5, "J0000+0000")
        np.testing.assert_array_equal(file.read(0, file.n_spectra), data)
        np.testing.assert_array_equal(file.read(7, 5), data[7:12])


@pytest.mark.parametrize(
    ("keywords", "axes", "taken"),
    [
        ({"NPOL": "2", "STATE": "PPQQ", "ORDER": "TFP"}, (0, 2, 1), (0, 1)),
        ({"NPOL": "2", "STATE": "PPQQ", "ORDER": "TPF"}, (0, 1, 2), (0, 1)),
        ({"NPOL": "2"}, (0, 2, 1), (0, 1)),
        ({"NPOL": "4", "STATE": "Stokes", "ORDER": "TPF"}, (0, 1, 2), (0,)),
        ({"NPOL": "4", "STATE": "Coherence"}, (0, 2, 1), (0, 1)),
    ],
)
def test_polarisations_in_either_order_become_total_intensity(tmp_path, keywords, axes, taken):
    data = RNG.integers(0, 256, (10, int(keywords["NPOL"]), 16)).astype(np.uint8)
    path = dada(tmp_path / "a.dada", data.transpose(axes).tobytes(), keywords)
    with open_observation(path) as file:
        expected = data[:, list(taken)].sum(axis=1, dtype=float)
        np.testing.assert_array_equal(file.read(0, 10), expected)
        assert file.dataset().attrs["polarisation"].startswith("total intensity")


def test_a_file_cut_from_a_longer_observation_starts_later(tmp_path):
    later = {"OBS_OFFSET": str(16 * 5000), "PICOSECONDS": "250000000000"}
    with open_observation(dada(tmp_path / "a.dada", BYTES.tobytes(), later)) as file:
        assert file.header.start_mjd == pytest.approx(60000.5 + 5.25 / 86400, abs=1e-10)
    stated = {"UTC_START": None, "MJD_START": "59000.25"}
    with open_observation(dada(tmp_path / "a.dada", BYTES.tobytes(), stated)) as file:
        assert file.header.start_mjd == 59000.25


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"HDR_SIZE": None}, "HDR_SIZE: missing"),
        ({"HDR_SIZE": "-1"}, "HDR_SIZE = -1"),
        ({"HDR_SIZE": "99999999999"}, "HDR_SIZE = 1e+11"),
        ({"HDR_SIZE": "1000000"}, "the file ends inside it"),
        ({"NCHAN": None}, "NCHAN: missing"),
        ({"NCHAN": "0"}, "NCHAN = 0"),
        ({"NCHAN": "many"}, "NCHAN = 'many': expected a number"),
        ({"NCHAN": "1e300"}, "NCHAN = 1e+300"),
        ({"NBIT": "2"}, "NBIT = 2: expected one of [8, 16, 32]"),
        ({"NDIM": "2"}, "NDIM = 2"),
        ({"STATE": "Nyquist"}, "STATE = 'Nyquist'"),
        ({"NPOL": "3"}, "NPOL = 3"),
        ({"ORDER": "FT"}, "ORDER = 'FT'"),
        ({"TSAMP": "0"}, "TSAMP = 0.0 s"),
        ({"TSAMP": "nan"}, "TSAMP = 'nan'"),
        ({"BW": "0"}, "BW / NCHAN"),
        ({"FREQ": "5"}, "FREQ, BW"),
        ({"UTC_START": "yesterday"}, "UTC_START = 'yesterday'"),
    ],
)
def test_a_dada_header_that_lies_is_refused_by_file_and_field(tmp_path, keywords, message):
    path = dada(tmp_path / "bad.dada", BYTES.tobytes(), keywords)
    with pytest.raises(DadaError) as error:
        DadaReader(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_dada_file_cut_anywhere_is_refused_or_read_as_far_as_it_goes(tmp_path):
    raw = dada(tmp_path / "a.dada", BYTES.tobytes()).read_bytes()
    # Every byte of the text, and some of the blank rest and of the data.
    for n_bytes in [n for n in range(len(raw)) if n < 400 or (n % 61 == 0 and n % 16)]:
        (tmp_path / "cut.dada").write_bytes(raw[:n_bytes])
        if n_bytes > len(raw) - len(BYTES.tobytes()):
            with pytest.warns(ObservationWarning, match="the data are cut"):
                DadaReader(tmp_path / "cut.dada").close()
            continue
        with pytest.raises(DadaError, match=r"cut\.dada: \w+"):
            DadaReader(tmp_path / "cut.dada")


@pytest.mark.filterwarnings("ignore::UserWarning")  # ours: what was assumed
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_damage_gives_our_own_error_or_a_readable_file(tmp_path, data):
    path = dada(tmp_path / "a.dada", BYTES.tobytes())
    raw = bytearray(path.read_bytes())
    n_used = min(len(raw), 800)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, n_used - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    try:
        with open_observation(path) as file:
            assert file.read(0, file.n_spectra).shape == (file.n_spectra, file.header.n_channels)
    except ObservationFileError:
        pass


def test_a_file_is_recognised_by_its_content_and_not_by_its_name(tmp_path):
    header = FilterbankHeader(16, 8, 1500.0, -1.0, 1e-3)
    with FilterbankWriter(tmp_path / "one.dada", header) as file:
        file.write(BYTES)
    dada(tmp_path / "two.fits", BYTES.tobytes())
    psrfits(tmp_path / "three.fil", BYTES[:16, None])
    for name, kind in (
        ("one.dada", FilterbankReader),
        ("two.fits", DadaReader),
        ("three.fil", PsrfitsReader),
    ):
        with open_observation(tmp_path / name) as file:
            assert isinstance(file, kind)
            np.testing.assert_array_equal(file.header.frequency_mhz, FREQUENCY_MHZ)
            np.testing.assert_array_equal(file.read(0, 16), BYTES[:16])


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"GIF89a", RNG.normal(size=500).astype("<f4").tobytes()]
)
@pytest.mark.parametrize("name", ["bad.fil", "bad.dat"])
def test_a_file_of_no_known_format_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ObservationFileError, match=rf"{name}: the first bytes: .* begin none of"):
        open_observation(tmp_path / name)


def test_the_search_finds_the_same_in_every_format(tmp_path):
    observation = simulate(ObservationParameters(n_channels=32, duration_s=0.6), seed=3)
    search = SearchParameters(dm_min_pc_cm3=50.0, dm_max_pc_cm3=60.0, dm_loss=0.2, snr_min=7.0)
    expected = infer(search, observation)
    write_dataset(observation, tmp_path / "a.sf")
    first, width = observation["frequency"].values[0], np.diff(observation["frequency"].values)[0]
    keywords = {"NCHAN": "32", "BW": f"{32 * width}", "FREQ": f"{first + width * 31 / 2}"}
    keywords["TSAMP"] = str(1e6 * observation.attrs["sampling_time_s"])
    dada(tmp_path / "a.dada", observation["data"].values.tobytes(), keywords)
    assert expected.sizes["candidate"] >= 1
    for name in ("a.sf", "a.dada"):
        found = infer(search, tmp_path / name)
        for variable in ("dm_pc_cm3", "time_s", "snr", "label"):
            if variable == "label":
                np.testing.assert_array_equal(found[variable], expected[variable])
            else:  # channel centres agree to rounding
                np.testing.assert_allclose(found[variable], expected[variable], rtol=1e-5)
        part = excerpt(tmp_path / name, 0.1, 0.2)
        np.testing.assert_array_equal(part["data"], excerpt(observation, 0.1, 0.2)["data"])
