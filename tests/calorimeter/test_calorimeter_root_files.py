"""ROOT files, written by uproot, turned into HDF5."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
from typer.testing import CliRunner

from physics_twins.calorimeter.files import RootMapping, ShowerFileError, convert_root
from physics_twins.calorimeter.formats import root, shower_file
from physics_twins.cli.__main__ import app

SHAPE = (3, 4, 2)
DENSE = RootMapping(
    cells="cells",
    shape=SHAPE,
    columns={"energy": "energy", "theta": "angle", "pdg": "pdg", "geometry": 7, "x": "x"},
    scales={"cells": 1000.0, "theta": np.pi / 180},
)
JAGGED = DENSE.model_copy(update={"cells": "hit_e", "indices": ("ix", "iy", "iz")})


def columns(n):
    return {
        "energy": np.linspace(1, 50, n),
        "angle": np.linspace(60, 120, n),
        "pdg": np.full(n, 11, dtype=np.int32),
        "x": np.linspace(-5, 5, n).astype(np.float32),
    }


def dense(n=9):
    cells = np.random.default_rng(1).exponential(0.01, (n, *SHAPE))
    return {"cells": cells.reshape(n, -1)} | columns(n)


def jagged(n=9):
    import awkward as ak

    rng = np.random.default_rng(2)
    counts = rng.integers(0, 12, n)
    hits = {"hit_e": rng.exponential(0.01, counts.sum())}
    for name, size in zip(("ix", "iy", "iz"), SHAPE, strict=True):
        hits[name] = rng.integers(0, size, counts.sum())
    return {name: ak.unflatten(ak.Array(values), counts) for name, values in hits.items()} | columns(n)


def written(path, values, tree="events", **others):
    with uproot.recreate(path) as file:
        for name, columns in {tree: values, **others}.items():
            file.mktree(name, columns)
    return path


@pytest.fixture
def few_at_once(monkeypatch):
    monkeypatch.setattr(root, "BLOCK_BYTES", 4 * 16 * 24)
    monkeypatch.setattr(shower_file, "BLOCK_BYTES", 4 * 16 * 24)


@pytest.mark.usefixtures("few_at_once")
def test_dense_cells_arrive_bit_by_bit_and_scaled(tmp_path):
    values = dense()
    done = convert_root([written(tmp_path / "a.root", values)], tmp_path / "a.h5", DENSE)
    assert done == (9, 9)
    with h5py.File(tmp_path / "a.h5") as file:
        expected = (1000 * values["cells"]).astype(np.float32).reshape(9, *SHAPE)
        np.testing.assert_array_equal(file["ECAL"], expected)
        assert file["ECAL"].attrs["units"] == "MeV"
        np.testing.assert_array_equal(file["energy"], values["energy"])
        np.testing.assert_allclose(file["theta"], np.deg2rad(values["angle"]))
        np.testing.assert_array_equal(file["x"], values["x"])
        assert set(file["pdg"]) == {11}
        assert set(file["geometry"]) == {7}


@pytest.mark.usefixtures("few_at_once")
def test_hits_are_summed_in_cells(tmp_path):
    values = jagged()
    convert_root([written(tmp_path / "a.root", values)], tmp_path / "a.h5", JAGGED)
    expected = np.zeros((9, *SHAPE))
    for event in range(9):
        for e, *cell in zip(
            *(values[name][event] for name in ("hit_e", "ix", "iy", "iz")), strict=True
        ):
            expected[(event, *cell)] += 1000 * e
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_allclose(file["ECAL"], expected, rtol=1e-6)


def test_one_number_for_each_cell_does_as_well(tmp_path):
    values = jagged()
    values["cell"] = (values["ix"] * 4 + values["iy"]) * 2 + values["iz"]
    path = written(tmp_path / "a.root", values)
    convert_root([path], tmp_path / "a.h5", JAGGED)
    convert_root([path], tmp_path / "b.h5", JAGGED.model_copy(update={"indices": ("cell",)}))
    with h5py.File(tmp_path / "a.h5") as one, h5py.File(tmp_path / "b.h5") as other:
        np.testing.assert_array_equal(one["ECAL"], other["ECAL"])


def test_cells_are_cleaned_and_empty_showers_left_out(tmp_path):
    values = dense()
    values["cells"][4] *= 1e-6
    mapping = DENSE.model_copy(update={"threshold_mev": 5.0, "least_mev": 1.0})
    both = [written(tmp_path / name, values) for name in ("a.root", "b.root")]
    done = convert_root(both, tmp_path / "a.h5", mapping)
    assert done == (18, 16)
    with h5py.File(tmp_path / "a.h5") as file:
        cells = file["ECAL"][:]
        assert cells[cells > 0].min() >= 5.0
        assert values["energy"][4] not in file["energy"][:]


def with_value(values, name, event, value):
    changed = values[name].copy()
    changed[event] = value
    return values | {name: changed}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (with_value(dense(), "cells", (5, 3), np.nan), "cells: event 5"),
        (with_value(dense(), "cells", (5, 3), -1.0), "cells: event 5"),
        (with_value(dense(), "energy", 2, -1.0), "energy: event 2: -1 GeV"),
        (with_value(dense(), "energy", 2, np.nan), "energy: event 2: nan GeV"),
        (with_value(dense(), "angle", 8, 999.0), "theta: event 8"),
        (dense() | {"cells": dense()["cells"][:, :20]}, "cells: event 0: 20 cells"),
        ({k: v for k, v in dense().items() if k != "x"}, "x: no such branch; the tree has: cells"),
        (dense() | {"x": np.zeros((9, 2))}, "x: expected one number in each entry"),
    ],
)
def test_wrong_dense_values_are_refused_with_file_branch_and_event(tmp_path, values, expected):
    path = written(tmp_path / "a.root", values)
    with pytest.raises(ShowerFileError, match=expected) as error:
        convert_root([path], tmp_path / "a.h5", DENSE)
    assert str(path) in str(error.value)
    assert not (tmp_path / "a.h5").exists()


def hits(**changes):
    import awkward as ak

    found = {"hit_e": [[0.1, 0.2], [], [0.3]], "ix": [[0, 1], [], [2]]}
    found |= {"iy": [[0, 1], [], [3]], "iz": [[0, 1], [], [1]]}
    return {name: ak.Array(v) for name, v in (found | changes).items()} | columns(3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ix": [[0, 1], [], [3]]}, "ix: event 2: 3, expected a whole number from 0 to 2"),
        ({"iz": [[0, -1], [], [1]]}, "iz: event 0: -1, expected"),
        ({"iy": [[0.0, 0.5], [], [1.0]]}, "iy: event 0: 0.5, expected a whole number"),
        ({"hit_e": [[0.1, 0.2], [], [-0.3]]}, "hit_e: event 2: -0.3, expected 0 or more"),
        ({"hit_e": [[0.1, np.inf], [], [0.3]]}, "hit_e: event 0: inf, expected a finite number"),
    ],
)
def test_wrong_hits_are_refused(tmp_path, changes, expected):
    path = written(tmp_path / "a.root", hits(**changes))
    with pytest.raises(ShowerFileError, match=expected):
        convert_root([path], tmp_path / "a.h5", JAGGED)


def test_indices_must_be_as_long_as_the_hits(tmp_path):
    other = hits() | {"ix": hits(ix=[[0], [], [2]])["ix"]}
    path = written(tmp_path / "a.root", other)
    with pytest.raises(ShowerFileError, match="ix: not as long as hit_e"):
        convert_root([path], tmp_path / "a.h5", JAGGED)


def test_text_is_no_number(tmp_path):
    path = written(tmp_path / "a.root", dense(3) | {"x": ["a", "b", "c"]})
    with pytest.raises(ShowerFileError, match=r"x: holds char\*, expected numbers"):
        convert_root([path], tmp_path / "a.h5", DENSE)


def test_of_several_trees_one_must_be_named(tmp_path):
    path = written(tmp_path / "a.root", dense(), other={"x": np.zeros(3)})
    with pytest.raises(ShowerFileError, match="tree '': the file's trees are: events, other"):
        convert_root([path], tmp_path / "a.h5", DENSE)
    named = DENSE.model_copy(update={"tree": "events"})
    assert convert_root([path], tmp_path / "a.h5", named) == (9, 9)


def test_the_successor_of_trees_is_refused_by_name(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("events", columns(3))
    with pytest.raises(
        ShowerFileError, match="trees are: none; its RNTuples, which are not read: events"
    ):
        convert_root([tmp_path / "a.root"], tmp_path / "a.h5", DENSE)


def test_a_large_basket_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(root, "MAX_CHUNK_BYTES", 100)
    path = written(tmp_path / "a.root", dense())
    with pytest.raises(ShowerFileError, match=r"cells: basket 0 has \d+ bytes, expected at most 100"):
        convert_root([path], tmp_path / "a.h5", DENSE)


def test_a_cut_or_damaged_file_is_refused(tmp_path):
    path = written(tmp_path / "a.root", dense(200))
    raw = path.read_bytes()
    for n in (0, 3, 60, len(raw) // 3, len(raw) // 2):
        path.write_bytes(raw[:n])
        with pytest.raises(ShowerFileError, match=r"a\.root: "):
            convert_root([path], tmp_path / "a.h5", DENSE)
    path.write_bytes(b"\xff" * 2000)
    with pytest.raises(ShowerFileError, match="damaged, cut or no ROOT file"):
        convert_root([path], tmp_path / "a.h5", DENSE)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.root"):
        convert_root([tmp_path / "no.root"], tmp_path / "a.h5", DENSE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": {"energy": "e"}},
        {"columns": {"energy": "e", "theta": "t", "mass": "m"}},
        {"indices": ("a", "b")},
        {"shape": (0, 1, 1)},
        {"shape": (10**4, 10**4, 10**4)},
        {"threshold_mev": -1.0},
    ],
)
def test_a_wrong_mapping_is_refused(wrong):
    with pytest.raises(ValueError, match="RootMapping"):
        RootMapping(**(DENSE.model_dump() | wrong))


def test_the_command_converts_several_files_and_names_what_a_mapping_lacks(tmp_path):
    sources = [str(written(tmp_path / name, dense())) for name in ("a.root", "b.root")]
    mapping, target = tmp_path / "mapping.json", tmp_path / "a.h5"
    mapping.write_text(DENSE.model_dump_json())
    command = ["calorimeter", "convert", *sources, str(target), "--mapping", str(mapping), "--quiet"]
    assert f"{target}: 18 of 18 showers" in CliRunner().invoke(app, command).output
    with h5py.File(target) as file:
        assert file["ECAL"].shape == (18, *SHAPE)
    mapping.write_text('{"cells": "cells"}')
    assert "mapping.json: columns: Field required" in str(CliRunner().invoke(app, command).exception)
    command[-2] = "lost.json"
    lost = CliRunner().invoke(app, command)
    assert str(lost.exception) == "there is no file lost.json"
    alone = ["calorimeter", "convert", str(target), "--mapping", str(mapping)]
    assert "FILE.root is missing" in str(CliRunner().invoke(app, alone).exception)


def peak_mib(path, mapping):
    """Peak memory of a process that converts a file."""
    code = (
        "import sys; from physics_twins.calorimeter.files import RootMapping, convert_root;"
        "mapping = RootMapping.model_validate_json(sys.argv[2]);"
        "convert_root([sys.argv[1]], sys.argv[1] + '.h5', mapping);"
        "print(open('/proc/self/status').read())"
    )
    command = [sys.executable, "-c", code, str(path), mapping.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"VmHWM:\s+(\d+)", done.stdout)
    assert found
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured through /proc")
def test_memory_does_not_grow_with_a_root_file(tmp_path):
    mapping = DENSE.model_copy(update={"shape": (20, 20, 10)})
    cells = np.random.default_rng(1).random((500, 4000), dtype=np.float32)
    paths = {}
    for name, n in (("small", 4), ("large", 28)):
        paths[name] = tmp_path / f"{name}.root"
        with uproot.recreate(paths[name], compression=None) as file:
            values = {"cells": cells} | columns(500)
            tree = file.mktree("events", values)
            for _ in range(n - 1):
                tree.extend(values)
    assert paths["large"].stat().st_size > 200e6
    # The second file is 190 MB larger.
    assert peak_mib(paths["large"], mapping) - peak_mib(paths["small"], mapping) < 40
