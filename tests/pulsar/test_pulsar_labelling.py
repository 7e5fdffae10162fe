"""Stream labelling: labels of every frame, pieces that are kept, the log, and going on after a stop."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pulsar_files import psrfits

from physics_twins import clusters
from physics_twins.pulsar.classifying.classifiers import ThresholdClassifier
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.files import FilterbankHeader, FilterbankWriter, open_observation
from physics_twins.pulsar.formats.observation_file import ObservationWarning
from physics_twins.pulsar.formats.psrfits import PsrfitsReader
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.labelling import label
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.searching.frontend import Frames
from physics_twins.pulsar.streams.keeping import Decision
from physics_twins.pulsar.streams.label_files import Labelling, read_labels, read_lines
from physics_twins.pulsar.streams.piece_files import measure_pulse
from physics_twins.pulsar.verb_parameters import KeepParameters, LabelParameters

SAMPLING_S = 256e-6
SIGMA_FWHM = np.sqrt(8 * np.log(2))
FREQUENCY_MHZ = 1525.0 - 10.0 * np.arange(32)
HEADER = FilterbankHeader(32, 8, 1525.0, -10.0, SAMPLING_S, 59000.0, "B0531+21")
FRAME = 256
N_FRAMES = 73  # the last one has 100 spectra
SOUGHT = LabelParameters(dm_min_pc_cm3=45.0, dm_max_pc_cm3=65.0, block_frames=16)
PULSES = ((10, 56.77, 30.0), (31, 50.0, 12.0), (47, 60.0, 25.0))  # frame, DM, S/N
OTHER_FRAME = 60


def stream(n_frames: int = N_FRAMES - 1, *, seed: int = 1) -> NDArray[np.uint8]:
    """Noise with pulses, one of them across the border of two blocks, and packets lost in a half."""
    spectra = np.random.default_rng(seed).standard_normal((n_frames * FRAME + 100, 32))
    time = np.arange(len(spectra))[:, None]
    delay = dispersion_delay(FREQUENCY_MHZ, 1.0, reference_mhz=FREQUENCY_MHZ[0]) / SAMPLING_S
    for frame, dm, snr in PULSES:
        peak = snr / np.sqrt(32 * np.sqrt(np.pi) * 3.0)
        spectra += peak * np.exp(-0.5 * ((time - frame * FRAME - 200 - dm * delay) / 3.0) ** 2)
    counts = np.clip(np.rint(96 + 16 * spectra), 0, 255).astype(np.uint8)
    counts[OTHER_FRAME * FRAME + 50 : OTHER_FRAME * FRAME + 150, :16] = 0
    return counts


@pytest.fixture(scope="module")
def counts() -> NDArray[np.uint8]:
    return stream()


@pytest.fixture(scope="module")
def file(counts: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "crab.fil"
    with FilterbankWriter(path, HEADER) as writer:
        writer.write(counts)
    return path


@pytest.fixture(scope="module")
def labelled(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Labelling:
    return label(file, SOUGHT, out_folder=tmp_path_factory.mktemp("out") / "a", progress=False)


def kept(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_lines(folder) if line["what"] == "kept"]


def content(folder: Path) -> dict[str, bytes]:
    """All that a labelling writes and that does not depend on when."""
    files = {p.name: p.read_bytes() for p in (folder / "pieces").iterdir()}
    lines = [{**line, "when": "", "source": ""} for line in read_lines(folder)]
    log = json.dumps([line for line in lines if line["what"] != "begun"]).encode()
    return files | {"labels": (folder / "labels.csv").read_bytes(), "log": log}


def test_every_frame_has_a_row_and_what_was_put_in_is_labelled(labelled: Labelling):
    table = read_labels(labelled.folder)
    assert table["frame"].values.tolist() == list(range(N_FRAMES))
    np.testing.assert_allclose(table["start_s"], np.arange(N_FRAMES) * FRAME * SAMPLING_S)
    expected = ["none"] * N_FRAMES
    for frame, dm, snr in PULSES:
        expected[frame] = "pulse"
        at = table.isel(frame=frame)
        assert float(at["dm_pc_cm3"]) == pytest.approx(dm, abs=1 + 20 / snr)
        arrival_s = (frame * FRAME + 200) * SAMPLING_S
        assert float(at["time_s"]) == pytest.approx(arrival_s, abs=8 * SAMPLING_S)
    expected[OTHER_FRAME] = "other"
    assert table["label"].values.tolist() == expected
    assert all("units" in variable.attrs for variable in table.variables.values())
    assert labelled.counts["pulse"] == len(PULSES)


def test_a_kept_piece_holds_the_whole_sweep_and_is_a_file_with_its_own_time(
    labelled: Labelling, counts: NDArray[np.uint8]
):
    lines = kept(labelled.folder)
    assert [line["why"] for line in lines] == ["pulse", "pulse", "pulse", "other"]
    for line, (frame, dm, _) in zip(lines, PULSES, strict=False):
        delay = dispersion_delay(FREQUENCY_MHZ, dm, reference_mhz=1525.0)[-1] / SAMPLING_S
        first, last = line["start_spectrum"], line["start_spectrum"] + line["n_spectra"]
        assert first < frame * FRAME + 200 - 10
        assert last > frame * FRAME + 200 + delay + 10
        with open_observation(labelled.folder / line["piece"]) as piece:
            np.testing.assert_array_equal(piece.read(0, piece.n_spectra), counts[first:last])
            # A double's last digit is 0.6 us.
            later_s = (piece.header.start_mjd - 59000.0) * 86400
            assert later_s == pytest.approx(first * SAMPLING_S, abs=2e-6)


def test_a_kept_piece_labelled_again_gives_its_pulse(labelled: Labelling, tmp_path: Path):
    line = kept(labelled.folder)[0]
    again = label(labelled.folder / line["piece"], SOUGHT, out_folder=tmp_path, progress=False)
    table = read_labels(again.folder)
    best = table.isel(frame=int(table["snr"].values.argmax()))
    assert str(best["label"].values) == "pulse"
    assert float(best["dm_pc_cm3"]) == pytest.approx(PULSES[0][1], abs=1.5)


def test_the_log_says_what_was_kept_and_why_and_ends_with_a_summary(labelled: Labelling):
    lines = read_lines(labelled.folder)
    assert lines[0]["what"] == "begun"
    assert lines[0]["parameters"]["dm_max_pc_cm3"] == 65.0
    assert lines[-1]["what"] == "finished"
    assert lines[-1]["counts"]["pulse"] == 3
    assert lines[-1]["n_frames"] == N_FRAMES
    assert lines[-1]["missing_fraction"] == 0
    assert lines[-1]["deleted_fraction"] == pytest.approx(labelled.deleted_fraction)
    for line in kept(labelled.folder):
        assert line["threshold"] == ThresholdClassifier().keep_threshold
        assert line["classifier"] == "thresholds"
        if line["why"] == "pulse":
            assert line["p_pulse"] >= line["threshold"]


def test_alerts_tell_of_strong_pulses_and_of_what_is_nothing_known(file: Path, tmp_path: Path):
    told: list[Mapping[str, Any]] = []
    done = label(file, SOUGHT, out_folder=tmp_path, alert=told.append, progress=False)
    strong = [frame for frame, _, snr in PULSES if snr >= KeepParameters().alert_snr]
    assert [(line["kind"], line["frame"]) for line in told] == [
        *(("strong pulse", frame) for frame in strong),
        ("other", OTHER_FRAME),
    ]
    assert done.n_alerts == len(told)
    assert [line for line in read_lines(tmp_path) if line["what"] == "alert"] == told


def test_an_alert_that_goes_wrong_is_logged_and_stops_nothing(file: Path, tmp_path: Path):
    def broken(line: Mapping[str, Any]) -> None:
        raise RuntimeError("no route to the observer")

    done = label(file, SOUGHT, out_folder=tmp_path, alert=broken, progress=False)
    assert done.finished
    failed = [line for line in read_lines(tmp_path) if line["what"] == "alert failed"]
    assert {line["error"] for line in failed} == {"no route to the observer"}


class Stopping(ThresholdClassifier):
    """Asks for a stop, as Ctrl-C does, or breaks down, while it labels its n-th block."""

    def __init__(self, n: int, *, breaks: bool = False) -> None:
        super().__init__()
        object.__setattr__(self, "left", [n])
        object.__setattr__(self, "breaks", breaks)

    def classify(self, frames: Frames) -> NDArray[np.float32]:
        left: list[int] = self.__dict__["left"]
        left[0] -= 1
        if left[0] == 0:
            if self.__dict__["breaks"]:
                raise MemoryError
            signal.raise_signal(signal.SIGINT)
        return super().classify(frames)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_what_ctrl_c_stopped_goes_on_and_gives_the_same(
    file: Path, labelled: Labelling, tmp_path: Path, n: int
):
    with pytest.raises(KeyboardInterrupt):
        label(file, SOUGHT, out_folder=tmp_path, classifier=Stopping(n), progress=False)
    assert read_labels(tmp_path).sizes["frame"] == n * 16
    label(file, SOUGHT, out_folder=tmp_path, progress=False)
    assert content(tmp_path) == content(labelled.folder)


def test_what_was_killed_goes_on_from_what_was_complete(
    file: Path, labelled: Labelling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("physics_twins.pulsar.streams.label_run.SAVE_EVERY_S", 0.0)
    broken = Stopping(4, breaks=True)
    with pytest.raises(MemoryError):
        label(file, SOUGHT, out_folder=tmp_path, classifier=broken, progress=False)
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("48,3.1457")  # a row that was being written
    label(file, SOUGHT, out_folder=tmp_path, progress=False)
    assert content(tmp_path) == content(labelled.folder)


def test_a_finished_labelling_is_found_and_not_repeated(file: Path, tmp_path: Path):
    first = label(file, SOUGHT, out_folder=tmp_path, progress=False)
    before = content(tmp_path)
    stopping = Stopping(1, breaks=True)
    assert label(file, SOUGHT, out_folder=tmp_path, classifier=stopping, progress=False) == first
    assert content(tmp_path) == before


def test_a_folder_that_holds_another_labelling_is_refused(
    file: Path, labelled: Labelling, tmp_path: Path
):
    other = SOUGHT.model_copy(update={"dm_max_pc_cm3": 60.0})
    with pytest.raises(ValueError, match="another labelling, which differs in parameters"):
        label(file, other, out_folder=labelled.folder, progress=False)


def test_a_dataset_in_ascending_frequency_is_labelled_like_the_file(
    counts: NDArray[np.uint8], labelled: Labelling, tmp_path: Path
):
    data = xr.Dataset(
        {"data": (("time", "frequency"), counts[:, ::-1], {"units": "counts"})},
        {"frequency": ("frequency", FREQUENCY_MHZ[::-1], {"units": "MHz"})},
        {"sampling_time_s": SAMPLING_S, "n_bits": 8},
    )
    done = label(data, SOUGHT, out_folder=tmp_path, progress=False)
    xr.testing.assert_equal(read_labels(done.folder), read_labels(labelled.folder))
    line = kept(tmp_path)[0]
    with open_observation(tmp_path / line["piece"]) as piece:
        first = line["start_spectrum"]
        expected = counts[first : first + line["n_spectra"], ::-1]
        np.testing.assert_array_equal(piece.read(0, piece.n_spectra), expected)


def test_pieces_of_psrfits_are_psrfits_with_the_same_values(
    counts: NDArray[np.uint8], labelled: Labelling, tmp_path: Path
):
    whole_rows = counts[: len(counts) // 512 * 512, None]
    n_rows = len(whole_rows) // 512
    scale = np.full((n_rows, 32), 0.5, ">f4")
    scale[PULSES[0][0] * FRAME // 512] = 0.25  # of a row in the first pulse's piece
    changes: dict[str, Any] = {
        "columns": {
            "DAT_SCL": scale,
            "DAT_OFFS": np.full((n_rows, 32), -3.0),
            "DAT_FREQ": np.tile(FREQUENCY_MHZ, (n_rows, 1)),
            "OFFS_SUB": None,
        },
        "subint": {"TBIN": SAMPLING_S, "CHAN_BW": -10.0},
    }
    path = psrfits(tmp_path / "crab.sf", whole_rows, row_spectra=512, **changes)
    label(path, SOUGHT, out_folder=tmp_path / "out", progress=False)
    line = kept(tmp_path / "out")[0]
    with open_observation(path) as whole, open_observation(tmp_path / "out" / line["piece"]) as piece:
        assert isinstance(piece, PsrfitsReader)
        expected = whole.read(line["start_spectrum"], line["n_spectra"])
        np.testing.assert_array_equal(piece.read(0, piece.n_spectra), expected)


def test_a_file_that_grows_gets_the_labels_of_the_complete_one(
    file: Path, labelled: Labelling, tmp_path: Path
):
    growing, out = tmp_path / "crab.fil", tmp_path / "out"
    whole = file.read_bytes()
    seen = []
    for share in (0.3, 0.55, 1.0):
        growing.write_bytes(whole[: int(share * len(whole))])
        seen.append(label(growing, SOUGHT, out_folder=out, more_to_come=True, progress=False).n_frames)
    assert 0 < seen[0] < seen[1] < seen[2] < N_FRAMES
    assert label(growing, SOUGHT, out_folder=out, progress=False).finished
    assert content(out) == content(labelled.folder)


def test_blocks_shared_among_workers_give_the_same(file: Path, labelled: Labelling, tmp_path: Path):
    with clusters.connect("threads") as client:
        label(file, SOUGHT, out_folder=tmp_path, client=client, progress=False)
    assert content(tmp_path) == content(labelled.folder)


def test_what_measure_returns_stands_in_the_log(file: Path, tmp_path: Path):
    def brightest(piece: xr.Dataset, strongest: Any) -> dict[str, float]:
        return {"brightest": float(piece["data"].max()), "at_s": strongest.time_s}

    label(file, SOUGHT, out_folder=tmp_path, measure=brightest, progress=False)
    measured = [line.get("measured") for line in kept(tmp_path)]
    assert measured[0] is not None
    assert measured[0]["at_s"] == pytest.approx((10 * FRAME + 200) * SAMPLING_S, abs=5e-3)
    assert measured[-1] is None  # "other" has no pulse


def test_kept_pulses_are_measured_with_errors(labelled: Labelling):
    pulses = labelled.pulses()
    assert len(pulses) == len(PULSES)
    for (_, row), (frame, dm_pc_cm3, snr) in zip(pulses.iterrows(), PULSES, strict=True):
        assert row["dm_pc_cm3"] == pytest.approx(dm_pc_cm3, abs=5 * row["dm_pc_cm3_error"])
        assert row["dm_pc_cm3_error"] < 1.0
        assert row["time_s"] == pytest.approx((frame * FRAME + 200) * SAMPLING_S, abs=1e-3)
        assert row["width_ms"] == pytest.approx(3.0 * SIGMA_FWHM * 0.256, rel=0.5)
        assert row["snr"] == pytest.approx(snr, abs=5 * row["snr_error"])


def test_a_piece_that_nothing_can_be_fitted_to_says_why(file: Path, labelled: Labelling):
    with open_spectra(file) as source:
        empty = source.part(0, 2000)
    empty["data"] = xr.full_like(empty["data"], 7)
    told = measure_pulse(empty, Decision(1, 300, 900, "pulse", "pulse", 1.0, 9.0, 50.0, 0.1, 1.0))
    assert "all are removed" in told["problem"]


@pytest.mark.parametrize("n_spectra", [1, 40, 100, 255])
def test_a_file_without_a_whole_frame_is_labelled_as_one(tmp_path: Path, n_spectra: int):
    path = tmp_path / "short.fil"
    with FilterbankWriter(path, HEADER) as writer:
        writer.write(stream(1)[:n_spectra])
    done = label(path, SOUGHT, out_folder=tmp_path / "out", progress=False)
    assert (done.n_frames, done.n_spectra, done.missing_fraction) == (1, n_spectra, 0)
    assert done.counts["none"] == 1


def test_a_pulse_in_what_is_left_behind_the_last_frame_is_kept(tmp_path: Path):
    counts = stream()
    cut = counts[: 10 * FRAME + 240 + 200]  # 240 after the pulse's arrival, as its sweep needs
    path = tmp_path / "cut.fil"
    with FilterbankWriter(path, HEADER) as writer:
        writer.write(cut[256 * 9 + 130 :])  # one frame and a half; the pulse is in the half
    done = label(path, SOUGHT, out_folder=tmp_path / "out", progress=False)
    (line,) = kept(done.folder)
    assert line["why"] == "pulse"
    assert line["time_s"] == pytest.approx((256 + 200 - 130) * SAMPLING_S, abs=8 * SAMPLING_S)


def test_a_file_that_is_cut_is_labelled_as_far_as_it_goes(file: Path, tmp_path: Path):
    path = tmp_path / "cut.fil"
    path.write_bytes(file.read_bytes()[:-5])
    with pytest.warns(ObservationWarning, match=r"cut\.fil: the data are cut"):
        done = label(path, SOUGHT, out_folder=tmp_path / "out", progress=False)
    assert done.n_spectra == (N_FRAMES - 1) * FRAME + 99


def test_without_other_and_with_certainty_less_is_kept(file: Path, tmp_path: Path):
    keep = KeepParameters(keep_other=False, keep_probability=1.0)
    done = label(file, SOUGHT, out_folder=tmp_path, keep=keep, progress=False)
    assert all(line["why"] == "pulse" for line in kept(tmp_path))
    assert done.counts["other"] == 1


def test_the_threshold_classifier_gives_probabilities_that_add_up_to_one(labelled: Labelling):
    table = read_labels(labelled.folder)
    assert ((table["probability"] > 0.1) & (table["probability"] <= 1)).all()
    assert set(table["label"].values) <= set(LABELS)


def test_the_command_keeps_numba_from_importing_what_offers_it_extensions():
    code = (
        "import sys; from numba.core import entrypoints;"
        "from physics_twins.pulsar.label_command import _leave_numba_as_it_is;"
        "sys.argv[1:] or _leave_numba_as_it_is(); entrypoints.init_all();"
        "print('awkward' in sys.modules)"
    )
    asked = [[], ["numba alone"]]
    done = [subprocess.run([sys.executable, "-c", code, *each], capture_output=True) for each in asked]
    assert [each.stdout.strip() for each in done] == [b"False", b"True"]
