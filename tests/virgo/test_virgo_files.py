"""Files of strain: what is written is read again bit for bit; what is damaged is refused by name."""

import importlib.util
import re

import h5py
import numpy as np
import pytest
import xarray as xr
from real_files import real_file

from physics_twins.virgo import (
    EASY,
    SourceParameters,
    Stream,
    VirgoParameters,
    files,
    fit,
    follow,
    frames_made_worse,
    simulate,
)
from physics_twins.virgo import frames as seconds_of
from physics_twins.virgo.files import StrainFileError
from physics_twins.virgo.formats import frames

GPS = 1_400_000_000.0
HAS_GWFRAME = importlib.util.find_spec("gwframe") is not None
needs_gwframe = pytest.mark.skipif(not HAS_GWFRAME, reason="gwframe is not installed: extra gwf")
FORMATS = ["hdf5", pytest.param("gwf", marks=needs_gwframe)]


def channel(name="strain", rate_hz=64.0, start_s=GPS, seconds=2, kind="f8", unit="1", seed=0):
    values = np.random.default_rng(seed).standard_normal(int(seconds * rate_hz)) * 1000
    facts = {"units": unit, "sample_rate_hz": rate_hz, "gps_start_s": start_s}
    return xr.DataArray(values.astype(kind), dims="time", name=name, attrs=facts)


def written(path, *channels):
    return files.write(channels or (channel(),), path)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["f8", "f4", "i2", "i4", "i8", "u4"])
def test_a_channel_is_read_as_it_was_written_bit_for_bit(tmp_path, form, kind):
    put = channel("V1:ENV_SEIS_N", 128.0, GPS, kind=kind, unit="um s-1")
    path = written(tmp_path / f"a.{form}", channel("V1:Hrec"), put)
    found = files.read(path, "V1:ENV_SEIS_N")
    assert found.dtype == put.dtype
    assert found.values.tobytes() == put.values.tobytes()
    assert {n: found.attrs[n] for n in put.attrs} == put.attrs


@pytest.mark.parametrize("form", FORMATS)
def test_a_range_is_the_part_of_the_whole(tmp_path, form):
    path = written(tmp_path / f"a.{form}")
    whole, part = (
        files.read(path, "strain"),
        files.read(path, "strain", start_s=GPS + 0.5, stop_s=GPS + 1),
    )
    np.testing.assert_array_equal(part, whole[32:64])
    assert part.attrs["gps_start_s"] == GPS + 0.5


def test_only_the_range_of_a_large_file_is_read(tmp_path, monkeypatch):
    path = written(tmp_path / "a.hdf5", channel(rate_hz=4096.0, seconds=64))
    read = []
    original = h5py.Dataset.__getitem__

    def counted(self, wanted, **options):
        found = original(self, wanted, **options)
        read.append(np.size(found))
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    files.read(path, "strain", start_s=GPS + 30, stop_s=GPS + 31)
    assert max(read) == 4096


def test_files_in_any_order_are_joined_in_the_order_of_time(tmp_path):
    parts = [channel(start_s=GPS + 2 * n, seed=n) for n in range(3)]
    paths = [written(tmp_path / f"{n}.hdf5", part) for n, part in enumerate(parts)]
    joined = files.read([paths[1], paths[2], paths[0]], "strain")
    np.testing.assert_array_equal(joined, np.concatenate(parts))
    middle = files.read(paths, "strain", start_s=GPS + 1, stop_s=GPS + 5)
    np.testing.assert_array_equal(middle, joined[64:320])


@pytest.mark.parametrize("kind", ["f4", "i4"])
def test_a_gap_is_refused_or_filled_with_what_is_not_a_number(tmp_path, kind):
    parts = [channel(start_s=GPS + 3 * n, kind=kind) for n in range(2)]
    paths = [written(tmp_path / f"{n}.hdf5", part) for n, part in enumerate(parts)]
    with pytest.raises(StrainFileError, match=r"strain: 1 s after GPS 1400000000 s are in no file"):
        files.read(paths, "strain")
    filled = files.read(paths, "strain", gaps="nan")
    assert filled.attrs["missing"] == 64
    assert np.isnan(filled[128:192]).all()
    np.testing.assert_array_equal(filled[192:], parts[1])
    beyond = files.read(paths, "strain", start_s=GPS - 1, stop_s=GPS + 1, gaps="nan")
    assert beyond.attrs["missing"] == 64


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"start_s": GPS + 1}, r"b\.hdf5: strain: overlaps .*a\.hdf5 by 1 s"),
        ({}, r"b\.hdf5: strain: overlaps .*a\.hdf5 by 2 s"),
        ({"start_s": GPS + 2.005}, r"b\.hdf5: strain: begins between two samples of .*a\.hdf5"),
        (
            {"start_s": GPS + 2, "rate_hz": 128.0},
            r"b\.hdf5: strain: sample rate in Hz 128\.0, but 64\.0",
        ),
        ({"start_s": GPS + 2, "unit": "m"}, r"b\.hdf5: strain: unit m, but 1 in .*a\.hdf5"),
        ({"start_s": GPS + 2, "name": "other"}, r"b\.hdf5: there is no channel strain, but other"),
    ],
)
def test_files_that_do_not_fit_together_are_refused_by_name(tmp_path, second, message):
    paths = [written(tmp_path / "a.hdf5"), written(tmp_path / "b.hdf5", channel(**second))]
    with pytest.raises(StrainFileError, match=message):
        files.read(paths, "strain")


def test_what_is_not_a_number_is_kept_counted_and_told_by_the_mask(tmp_path):
    holed = channel(seconds=3)
    holed[70:80] = np.nan
    path = written(tmp_path / "a.hdf5", holed)
    assert files.read(path, "strain").attrs["missing"] == 10
    with h5py.File(path) as file:
        assert file["quality/simple/DQmask"][:].tolist() == [1, 0, 1]


def test_a_stretch_is_written_and_read_as_it_was(tmp_path):
    asked = VirgoParameters(**EASY | {"duration_s": 4.0})
    stretch = simulate(asked, seed=1)
    path = files.write(files.channels_of(stretch), tmp_path / "s.hdf5")
    names = [header.name for header in files.channels(path)][1:]
    assert set(names) == set(stretch["channel"].values)
    witnesses = [files.read(path, str(name)) for name in stretch["channel"].values]
    again = files.stretch_of(files.read(path, "strain"), witnesses, detector="virgo_o4")
    for name in ("strain", "witness", "time"):
        xr.testing.assert_identical(again[name].drop_attrs(), stretch[name].drop_attrs())
    for name in ("detector", "sample_rate_hz", "duration_s", "gps_start_s"):
        assert again.attrs[name] == stretch.attrs[name]


def test_a_slower_witness_is_resampled_to_the_strains_rate():
    strain, slow = channel(rate_hz=1024.0), channel("slow", rate_hz=128.0)
    slow.values[:] = np.sin(2 * np.pi * 5 * np.arange(256) / 128)
    stretch = files.stretch_of(strain, [slow], detector="virgo_o4")
    inside = slice(256, -256)  # the filter's ends
    expected = np.sin(2 * np.pi * 5 * np.arange(2048) / 1024)
    # The filter of scipy passes 5 of 64 Hz within 1 %.
    np.testing.assert_allclose(stretch["witness"][0][inside], expected[inside], atol=0.01)


@pytest.mark.parametrize(
    ("witness", "message"),
    [
        ({"rate_hz": 100.0 / np.pi}, "w: 31.831 Hz has no simple ratio to the strain's 64 Hz"),
        ({"start_s": GPS + 1}, "w: begins or ends at another time than strain"),
        ({"seconds": 3}, "w: begins or ends at another time than strain"),
    ],
)
def test_a_witness_that_does_not_fit_is_refused_by_name(witness, message):
    with pytest.raises(StrainFileError, match=message):
        files.stretch_of(channel(), [channel("w", **witness)], detector="virgo_o4")


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ((), "there is no channel to write"),
        ((channel(), channel()), "'strain' is no name of a channel, or is there twice"),
        ((channel("a/b"),), "'a/b' is no name of a channel"),
        ((channel(kind="c16"),), "complex128"),
        ((channel(rate_hz=64.0, start_s=-1.0),), "start = -1 must lie between"),
    ],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_what_is_no_set_of_channels_is_not_written(tmp_path, channels, message):
    with pytest.raises(StrainFileError, match=message):
        files.write(channels, tmp_path / "a.hdf5")
    assert not list(tmp_path.iterdir())


def test_ranges_that_are_empty_and_files_that_are_missing_are_refused(tmp_path):
    path = written(tmp_path / "a.hdf5")
    with pytest.raises(ValueError, match="is empty"):
        files.read(path, "strain", start_s=GPS + 1, stop_s=GPS + 1)
    with pytest.raises(FileNotFoundError, match=r"there is no file of strain .*none\.hdf5"):
        files.read(tmp_path / "none.hdf5", "strain")
    (tmp_path / "text.hdf5").write_text("GPS 1400000000")
    with pytest.raises(StrainFileError, match="neither HDF5's nor a frame file's"):
        files.channels(tmp_path / "text.hdf5")


def _expect_refusal_or_the_same(path, whole):
    """Return 1 where a file is refused, 0 where it is read as if whole, -1 where it is not."""
    try:
        found = files.read(path, "strain")
    except StrainFileError as error:
        return 1 if str(path) in str(error) else pytest.fail(f"{error} does not name {path}")
    return 0 if found.identical(whole) else -1


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_at_any_byte_is_refused(tmp_path, form):
    path = written(tmp_path / f"a.{form}")
    raw, whole = path.read_bytes(), files.read(path, "strain")
    for n in sorted({*range(0, len(raw), 41), *range(len(raw) - 16, len(raw))}):
        path.write_bytes(raw[:n])
        assert _expect_refusal_or_the_same(path, whole) == 1, n


@pytest.mark.parametrize("form", FORMATS)
def test_flipped_bits_raise_nothing_but_the_error_of_strain_files(tmp_path, form):
    path = written(tmp_path / f"a.{form}")
    raw, whole = path.read_bytes(), files.read(path, "strain")
    rng = np.random.default_rng(4)
    outcomes = []
    for _ in range(300):
        damaged = bytearray(raw)
        damaged[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        outcomes.append(_expect_refusal_or_the_same(path, whole))
    if form == "gwf":
        assert outcomes.count(1) >= 298  # all but the two bytes that say which checksum is used
    assert 1 in outcomes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f["strain/Strain"].attrs.__setitem__("Npoints", 5),
            "Npoints = 5, found 128 samples",
        ),
        (lambda f: f["strain/Strain"].attrs.__setitem__("Xspacing", -1.0), "Xspacing = -1.0 s must be"),
        (
            lambda f: f["strain/Strain"].attrs.__setitem__("Xspacing", "fast"),
            "Xspacing must be a number",
        ),
        (
            lambda f: f["strain/Strain"].attrs.__delitem__("Xstart"),
            "Xstart must be a number, found None",
        ),
        (lambda f: f["strain/Strain"].attrs.__setitem__("Xstart", 7), "but meta/GPSstart = 1400000000"),
        (lambda f: f.__delitem__("strain/Strain"), "there is no strain/Strain, found"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_what_was_expected(tmp_path, change, message):
    path = written(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(StrainFileError, match=message):
        files.channels(path)


def test_values_that_lie_in_other_files_are_not_read(tmp_path):
    target = written(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["strain/Strain"] = h5py.ExternalLink(str(target), "strain/Strain")
    with pytest.raises(StrainFileError, match="a link to another place"):
        files.channels(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        secret = [(str(target), 0, 64)]
        file.create_dataset("strain/Strain", (8,), dtype="f8", external=secret)
    with pytest.raises(StrainFileError, match="expected an array in this file"):
        files.channels(tmp_path / "c.hdf5")


def test_without_gwframe_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gwframe", None)
    (tmp_path / "a.gwf").write_bytes(frames.START + b"\x08" + bytes(64))
    message = r"a\.gwf: frame files need the package gwframe: pip install 'physics-twins\[gwf\]'"
    with pytest.raises(StrainFileError, match=message):
        files.channels(tmp_path / "a.gwf")
    with pytest.raises(StrainFileError, match=message):
        written(tmp_path / "a.gwf")


def test_gwoscs_files_of_the_first_gravitational_wave_are_read():
    path = real_file("virgo/H-H1_LOSC_4_V2-1126259446-32.hdf5")
    (header,) = files.channels(path)
    assert (header.sample_rate_hz, header.start_s, header.n_samples) == (4096, 1126259446, 131072)
    part = files.read(path, "strain", start_s=1126259462.0, stop_s=1126259463.0)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(part, file["strain/Strain"][16 * 4096 : 17 * 4096])


@pytest.mark.parametrize("name", ["HLV-HW100916-968654552-1", "frametestfloat32"])
def test_the_checksum_of_a_real_frame_file_is_posixs(name):
    raw = real_file(f"virgo/{name}.gwf").read_bytes()
    assert frames.posix_sum(raw[:-4]) == int.from_bytes(raw[-4:], "little")


@needs_gwframe
def test_a_real_frame_of_virgo_is_read_and_written_bit_for_bit(tmp_path):
    path = real_file("virgo/HLV-HW100916-968654552-1.gwf")
    names = {h.name: (h.sample_rate_hz, h.start_s, h.n_samples) for h in files.channels(path)}
    assert names["V1:h_16384Hz"] == (16384, 968654552, 16384)
    strain = files.read(path, "V1:h_16384Hz")
    assert strain.attrs["units"] == "strain"
    assert 1e-19 < float(strain.std()) < 1e-17  # low frequencies
    again = files.read(files.write([strain], tmp_path / "b.gwf"), "V1:h_16384Hz")
    assert again.identical(strain)


def test_every_error_names_its_file():
    with pytest.raises(FileNotFoundError, match=re.escape("nowhere.gwf")):
        files.channels("nowhere.gwf")


@pytest.mark.parametrize("form", FORMATS)
def test_a_stretch_goes_through_files_and_back_in_one_file_or_two(tmp_path, form):
    made = simulate(VirgoParameters(duration_s=16.0, sample_rate_hz=1024, n_unsafe=1), seed=3)
    strain, *others = files.channels_of(made)
    both = SourceParameters(
        strain_file=str(written(tmp_path / f"a.{form}", strain, *others)),
        unsafe_channels="CAL_NE_MIR_Z",
    )
    apart = SourceParameters(
        strain_file=str(written(tmp_path / f"b.{form}", strain)),
        witness_file=str(written(tmp_path / f"c.{form}", *others)),
    )
    for source in (both, apart):
        again = files.recorded(source, detector="virgo_o4")
        np.testing.assert_array_equal(again["strain"], made["strain"])
        np.testing.assert_array_equal(again["witness"], made["witness"].sel(channel=again["channel"]))
        assert again.sizes == {n: made.sizes[n] for n in again.sizes}
    assert both.unsafe == ("CAL_NE_MIR_Z",)


def test_files_that_cannot_be_cleaned_are_refused_in_one_sentence(tmp_path):
    long = channel(seconds=20)
    broken = long.copy(data=np.where(np.arange(long.size) == 5, np.nan, long.values))
    other = channel("ENV_SEIS_N", seconds=20)
    for sentence, channels, more in (
        ("expected channels besides strain as witnesses, found none", [long], {}),
        ("strain: 1 samples are not numbers, expected none", [broken, other], {}),
        ("lasts 2 s, expected at least 16 s", [channel(), channel("ENV_SEIS_N")], {}),
        ("unsafe_channels: there is no channel CAL", [long, other], {"unsafe_channels": "CAL"}),
        ("there is no channel Hrec, but", [long, other], {"strain_channel": "Hrec"}),
    ):
        path = str(written(tmp_path / "a.hdf5", *channels))
        with pytest.raises(StrainFileError, match=sentence):
            files.recorded(SourceParameters(strain_file=path, **more), detector="virgo_o4")


def test_a_real_strain_with_another_sites_as_its_witness_is_cleaned_and_no_second_becomes_louder(
    tmp_path,
):
    """Two sites share nothing but the frequency of their mains: little can go."""
    path = str(real_file("virgo/H-H1_LOSC_4_V2-1126259446-32.hdf5"))
    with pytest.raises(StrainFileError, match="expected channels besides strain as witnesses"):
        files.recorded(SourceParameters(strain_file=path), detector="virgo_o3")
    other = files.read(real_file("virgo/L-L1_LOSC_4_V2-1126259446-32.hdf5"), "strain")
    beside = written(tmp_path / "l1.hdf5", other.rename("L1_STRAIN"))
    stretch = files.recorded(
        SourceParameters(strain_file=path, witness_file=str(beside)), detector="virgo_o3"
    )
    assert (stretch.attrs["sample_rate_hz"], stretch.sizes["time"]) == (4096, 32 * 4096)
    subtracted = follow(fit(stretch, channels=["L1_STRAIN"]), stretch)
    assert np.isfinite(subtracted).all()
    assert 0 < subtracted.std() < 0.1 * stretch["strain"].values.std()
    assert frames_made_worse(stretch, subtracted) == (0, 30)


def test_without_any_channel_nothing_is_subtracted():
    stretch = simulate(VirgoParameters(duration_s=16.0, sample_rate_hz=1024), seed=3)
    stream = Stream(fit(stretch, channels=()))
    seconds = [second for frame in seconds_of(stretch) if (second := stream.push(frame))]
    assert len(seconds) == 16 - stream.behind_s
    assert not any(second.subtracted.any() for second in seconds)
