"""A live folder: files that grow, rest or are damaged; and the command `twins label`."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from real_files import real_file

from physics_twins.parameters import ParameterError
from physics_twins.pulsar.files import FilterbankHeader, FilterbankWriter
from physics_twins.pulsar.labelling import label_folder
from physics_twins.pulsar.streams.label_files import read_labels, read_lines
from physics_twins.pulsar.verb_parameters import KeepParameters, LabelParameters, sought_in_band

HEADER = FilterbankHeader(32, 8, 1525.0, -10.0, 256e-6, 59000.0, "B0531+21")
SOUGHT = LabelParameters(dm_min_pc_cm3=45.0, dm_max_pc_cm3=65.0, block_frames=8)
N_FRAMES = 40


def write(path: Path, *, seed: int = 1, n_spectra: int = N_FRAMES * 256) -> bytes:
    counts = np.random.default_rng(seed).integers(60, 130, (n_spectra, 32)).astype(np.uint8)
    with FilterbankWriter(path, HEADER) as writer:
        writer.write(counts)
    return path.read_bytes()


class Rounds:
    """Ends a watch after some looks, and does something before each of them."""

    def __init__(self, *steps: Any) -> None:
        self.steps = [*steps]

    def __call__(self) -> bool:
        if self.steps:
            self.steps.pop(0)()
        return not self.steps


def watch(folder: Path, out: Path, *steps: Any, settled_s: float = 0.0) -> dict[str, dict[str, Any]]:
    rounds = Rounds(*steps)
    return label_folder(folder, SOUGHT, out_folder=out, poll_s=0.0, settled_s=settled_s, stop=rounds)


def test_each_file_is_labelled_once_even_by_another_watch(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write(folder / "a.fil")
    (folder / "notes.txt").write_text("not a telescope file")
    first = watch(folder, out, lambda: None)
    write(folder / "b.fil", seed=2)
    (out / "a.fil" / "labels.csv").write_text("must not be touched again")
    second = watch(folder, out, lambda: None, lambda: None)
    assert [*first] == ["a.fil"]
    assert {name: facts["state"] for name, facts in second.items()} == {
        "a.fil": "complete",
        "b.fil": "complete",
    }
    assert second["b.fil"]["n_frames"] == N_FRAMES
    assert (out / "a.fil" / "labels.csv").read_text() == "must not be touched again"


def test_a_growing_file_is_labelled_as_far_as_it_goes_and_finished_when_it_rests(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = write(tmp_path / "a.fil")
    seen: list[int] = []

    def grow(share: float) -> None:
        if (out / "a.fil" / "labels.csv").is_file():
            seen.append(read_labels(out / "a.fil").sizes["frame"])
        (folder / "a.fil").write_bytes(whole[: int(share * len(whole))])

    steps = [lambda share=share: grow(share) for share in (0.0001, 0.01, 0.5, 0.8, 1.0)]
    assert watch(folder, out, *steps, settled_s=1000.0) == {}
    assert 0 < seen[0] < seen[1] < N_FRAMES
    ledger = watch(folder, out, lambda: None)
    assert ledger["a.fil"]["state"] == "complete"
    table = read_labels(out / "a.fil")
    assert table["frame"].values.tolist() == list(range(N_FRAMES))
    once = watch(tmp_path, tmp_path / "once", lambda: None)
    assert once["a.fil"]["n_frames"] == N_FRAMES
    assert (tmp_path / "once" / "a.fil" / "labels.csv").read_bytes() == (
        out / "a.fil" / "labels.csv"
    ).read_bytes()


def test_a_damaged_file_is_named_in_the_ledger_and_the_others_go_on(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = write(folder / "b.fil")
    (folder / "a.fil").write_bytes(whole[:20])
    (folder / "c.fil").write_bytes(b"no telescope wrote this")
    write(folder / "d.fil", n_spectra=0)
    ledger = watch(folder, out, lambda: None)
    states = {name: facts["state"] for name, facts in ledger.items()}
    assert states == {"a.fil": "damaged", "b.fil": "complete", "c.fil": "damaged", "d.fil": "damaged"}
    assert "ends inside the header" in ledger["a.fil"]["error"]
    assert "holds no spectra" in ledger["d.fil"]["error"]
    assert json.loads((out / "ledger.json").read_text()) == ledger


@pytest.mark.filterwarnings("ignore::UserWarning")  # it pauses in the middle of a spectrum
def test_a_file_that_grows_after_a_pause_is_labelled_again_in_a_folder_of_its_own(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = write(tmp_path / "a.fil")
    (folder / "a.fil").write_bytes(whole[: len(whole) // 2])
    rested = watch(folder, out, lambda: None)
    assert rested["a.fil"]["n_frames"] == N_FRAMES // 2
    before = (out / "a.fil" / "labels.csv").read_bytes()
    grown, last = [lambda n=n: (folder / "a.fil").write_bytes(whole[:n]) for n in (-9000, None)]
    assert watch(folder, out, grown, settled_s=1e3) == rested
    ledger = watch(folder, out, last)
    assert ledger["a.fil"]["n_frames"] == N_FRAMES
    assert ledger["a.fil"]["folder"] == "a.fil~2"
    assert read_labels(out / "a.fil~2").sizes["frame"] == N_FRAMES
    assert (out / "a.fil" / "labels.csv").read_bytes() == before
    assert watch(folder, out, lambda: None) == ledger


@pytest.mark.parametrize("same_beginning", [True, False])
def test_a_file_written_anew_under_its_name_is_labelled_again(tmp_path: Path, same_beginning: bool):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    first = write(folder / "a.fil")
    watch(folder, out, lambda: None)
    other = write(folder / "a.fil", seed=2)
    if same_beginning:
        (folder / "a.fil").write_bytes(first[:-3200] + other[-3200:])
    ledger = watch(folder, out, lambda: None)
    assert ledger["a.fil"]["folder"] == "a.fil~2"
    assert (out / "a.fil~2" / "labels.csv").read_bytes() != (out / "a.fil" / "labels.csv").read_bytes()


def test_a_file_written_anew_while_it_is_labelled_ends_no_watch(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    first, other = write(tmp_path / "a.fil"), write(tmp_path / "b.fil", seed=2)
    contents = (first[: len(first) * 3 // 4], other[: len(other) * 3 // 4], other)
    watch(
        folder, out, *(lambda c=c: (folder / "a.fil").write_bytes(c) for c in contents), settled_s=1e3
    )
    ledger = watch(folder, out, lambda: None)
    assert ledger["a.fil"]["folder"] == "a.fil~2"
    assert ledger["a.fil"]["n_frames"] == N_FRAMES


def test_other_parameters_for_a_half_labelled_file_are_refused_and_not_noted(tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = write(folder / "a.fil")
    (folder / "a.fil").write_bytes(whole[: len(whole) * 3 // 4])
    watch(folder, out, lambda: None, settled_s=1000.0)
    (folder / "a.fil").write_bytes(whole)
    other = SOUGHT.model_copy(update={"dm_max_pc_cm3": 64.0})
    with pytest.raises(ValueError, match="differs in parameters"):
        label_folder(folder, other, out_folder=out, settled_s=0.0, stop=lambda: True)
    assert not (out / "ledger.json").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        label_folder(tmp_path / "nowhere", SOUGHT, out_folder=tmp_path, stop=lambda: True)


def twins(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "physics_twins.cli", "label", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_the_command_labels_a_file_and_says_what_it_came_to(tmp_path: Path):
    write(tmp_path / "a.fil")
    settings = ["-p", "dm_min_pc_cm3=45", "-p", "dm_max_pc_cm3=65", "-p", "block_frames=8"]
    done = twins(str(tmp_path / "a.fil"), *settings, "--keep", "0.5", "--quiet")
    assert done.returncode == 0, done.stderr
    sought, found = done.stdout.splitlines()[:2]
    assert sought.startswith("a.fil: sought are pulses of DM 45 to 65 pc cm-3, and 0.3 to 5 ms wide")
    assert found.startswith(f"a.fil: {N_FRAMES} frames: ")
    out = tmp_path / "a.fil.labels"
    assert read_labels(out).sizes["frame"] == N_FRAMES
    assert read_lines(out)[0]["threshold"] == 0.5
    assert read_lines(out)[0]["parameters"]["dm_max_pc_cm3"] == 65.0


@pytest.mark.slow
def test_without_a_range_all_that_the_band_tells_is_sought_and_that_is_told_first(tmp_path: Path):
    path = real_file("pulsar/askap_frb_28.fil")
    done = twins(str(path), "--out", str(tmp_path / "out"), "--quiet")
    assert done.returncode == 0, done.stderr
    sought = "of DM 2.4 to 3000 pc cm-3, all that this band tells from interference"
    assert sought in done.stdout.splitlines()[0]
    frames = read_labels(tmp_path / "out")
    pulse = frames.isel(frame=frames["label"].values == "pulse")
    assert pulse["dm_pc_cm3"].values == pytest.approx([475.0], abs=3)
    assert pulse["kept"].values == [1]


def test_the_range_of_a_band_is_narrowed_by_either_end():
    band, low = (SimpleNamespace(sampling_s=1e-3, delay_s_per_dm=each) for each in (1e-3, 0.1))
    assert sought_in_band({}, band).dm_min_pc_cm3 == 2.5
    assert sought_in_band({}, band).dm_max_pc_cm3 == 3000.0
    assert sought_in_band({"dm_max_pc_cm3": 100.0}, band).dm_min_pc_cm3 == 2.5
    assert sought_in_band({"dm_min_pc_cm3": 100.0}, band).dm_max_pc_cm3 == 3000.0
    assert sought_in_band({}, low).dm_max_pc_cm3 == 100.0
    with pytest.raises(ParameterError, match="must be below"):
        sought_in_band({"dm_max_pc_cm3": 1.0}, band)


def test_the_help_lists_every_parameter():
    done = twins("--help")
    for name in (*LabelParameters.model_fields, *KeepParameters.model_fields):
        assert name in done.stdout
    assert "from the band" in done.stdout


@pytest.mark.slow
def test_the_command_labels_a_folder_once(tmp_path: Path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.fil")
    done = twins(str(tmp_path / "in"), "--once", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert f"a.fil: complete: {N_FRAMES} frames" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.fil"], "there is no file or folder nowhere.fil"),
        ([".", "-p", "dm_max=5"], "did you mean 'dm_max_pc_cm3'"),
        ([".", "--keep", "2"], "keep_probability = 2.0 is outside its range"),
        ([".", "-p", "dm_min_pc_cm3"], "write it as NAME="),
        (["README.md"], "README.md: the first bytes"),
    ],
)
def test_a_wrong_input_is_refused_in_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# no telescope file")
    done = twins(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
