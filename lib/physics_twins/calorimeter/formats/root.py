"""Showers in ROOT files, by way of uproot, turned into HDF5 with the keys of 3DGAN.

A tree has one entry for each shower: either all its cells as one array of fixed length, or a list of
hits, of which others give the cell. Read some entries at a time; nothing but numbers is ever read
from a file.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from physics_twins.calorimeter.formats.layouts import THREE_D_GAN, check_columns, writing
from physics_twins.calorimeter.formats.shower_file import (
    BLOCK_BYTES,
    MAX_CHUNK_BYTES,
    ShowerFileError,
    check_values,
)

_MAX_CELLS = 10_000_000
_COLUMNS = THREE_D_GAN.columns


class RootMapping(BaseModel):
    """Which branches of a tree are what, and what is done to them.

    Attributes:
        tree: Name of the tree; may be left out where a file has one.
        cells: Branch of cell energies, of fixed length or of hits.
        indices: For hits, the branches of their cell's number in x, y and layer, or one branch of a
            number that counts through all cells, layers fastest.
        shape: Number of cells in x, y and layers.
        columns: Branch, or a number that holds for all showers, of `energy`, `theta`, and where known
            `phi`, `x`, `y`, `pdg` and `geometry`.
        scales: What a branch is multiplied by to be in MeV (`cells`), GeV (`energy`), radians or mm.
        threshold_mev: A cell with less energy is set to 0.
        least_mev: A shower with less energy in all its cells is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tree: str = ""
    cells: str
    indices: tuple[str, ...] = ()
    shape: tuple[int, int, int] = (51, 51, 25)
    columns: dict[str, str | float]
    scales: dict[str, float] = Field(default_factory=dict)
    threshold_mev: float = Field(0.0, ge=0)
    least_mev: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        unknown = {*self.columns, *self.scales} - {*_COLUMNS, "cells"}
        missing = {*THREE_D_GAN.needed} - {*self.columns}
        if unknown or missing or len(self.indices) not in (0, 1, 3):
            raise ValueError(
                f"columns need energy and theta (missing: {sorted(missing)}), may have"
                f" {', '.join(_COLUMNS)} (unknown: {sorted(unknown)}), indices are 0, 1 or 3 branches"
            )
        if min(self.shape) < 1 or int(np.prod(self.shape)) > _MAX_CELLS:
            raise ValueError(f"shape = {self.shape} must be of 1 to {_MAX_CELLS} cells")
        return self

    @property
    def branches(self) -> list[str]:
        """All branches that are read."""
        named = [value for value in self.columns.values() if isinstance(value, str)]
        return list(dict.fromkeys([self.cells, *self.indices, *named]))


def convert_root(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    mapping: RootMapping,
    *,
    progress: bool = False,
) -> tuple[int, int]:
    """Turn ROOT files into one HDF5 file, which appears when all is written.

    Args:
        sources: The ROOT files, one after the other.
        target: The HDF5 file.
        mapping: Which branches are what.
        progress: Whether to show a progress bar.

    Returns:
        Showers that were read, and those that were written; the rest had too little energy.

    Raises:
        FileNotFoundError: A ROOT file is missing.
        ShowerFileError: One is damaged or lacks a branch, or a value is negative or no number; the
            message names file, branch and entry.
    """
    from tqdm.auto import tqdm

    n_read = n_written = 0
    columns = tuple(name for name in _COLUMNS if name in mapping.columns)
    with (
        writing(target, THREE_D_GAN, mapping.shape, columns=columns) as add,
        tqdm(unit=" showers", leave=False, disable=not progress) as bar,
    ):
        for source in sources:
            for cells, found in _showers(Path(source), mapping):
                kept = cells.sum(axis=(1, 2, 3)) >= mapping.least_mev
                add(cells[kept], {name: values[kept] for name, values in found.items()})
                n_read, n_written = n_read + len(cells), n_written + int(kept.sum())
                bar.update(len(cells))
    return n_read, n_written


def _showers(
    path: Path, mapping: RootMapping
) -> Iterator[tuple[NDArray[np.float32], dict[str, NDArray[Any]]]]:
    """Yield cells in MeV and columns of a file, some showers at a time."""
    size = max(1, BLOCK_BYTES // (16 * int(np.prod(mapping.shape))))
    with _opened(path) as file:
        tree = _tree(file, mapping, path)
        for name in mapping.branches:
            _check_branch(tree, name, path)
        for first in range(0, tree.num_entries, size):
            last = min(first + size, tree.num_entries)
            options: Any = {"entry_start": first, "entry_stop": last, "library": "np"}
            arrays = {name: tree[name].array(**options) for name in mapping.branches}
            yield _cells(arrays, mapping, path, first), _columns(arrays, mapping, path, first)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield an open ROOT file; whatever a damaged one makes uproot raise becomes one error."""
    import uproot

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        # Caches and a mapped file would grow with the file.
        options: Any = {"object_cache": None, "array_cache": None}
        opened: Any = uproot.open(path, handler=uproot.MultithreadedFileSource, **options)
        with opened as file:
            yield file
    except (ShowerFileError, MemoryError):
        raise
    except Exception as error:  # uproot's own, and those of struct, zlib, numpy ... on damaged bytes
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ShowerFileError(f"{path}: damaged, cut or no ROOT file: {lines[0]}") from None


def _tree(file: Any, mapping: RootMapping, path: Path) -> Any:
    names = file.classnames(recursive=True)
    trees = sorted({name.partition(";")[0] for name, kind in names.items() if kind == "TTree"})
    others = sorted({n.partition(";")[0] for n, kind in names.items() if kind == "ROOT::RNTuple"})
    wanted = mapping.tree or (trees[0] if len(trees) == 1 else "")
    if wanted not in trees:
        held = ", ".join(trees[:20]) or "none"
        hint = f"; its RNTuples, which are not read: {', '.join(others[:20])}" if others else ""
        raise ShowerFileError(f"{path}: tree {wanted!r}: the file's trees are: {held}{hint}")
    return file[wanted]


def _check_branch(tree: Any, name: str, path: Path) -> None:
    """Refuse a branch of anything but numbers, or with pieces too large to read."""
    import uproot

    if name not in tree:
        held = ", ".join(tree.keys()[:20]) or "none"
        raise ShowerFileError(f"{path}: {name}: no such branch; the tree has: {held}")
    branch = tree[name]
    kind = branch.interpretation
    content = kind.content if isinstance(kind, uproot.AsJagged) else kind
    if not isinstance(content, uproot.AsDtype) or content.to_dtype.base.kind not in "iufb":
        raise ShowerFileError(f"{path}: {name}: holds {branch.typename}, expected numbers")
    for n in range(branch.num_baskets):
        if not 0 <= branch.basket_uncompressed_bytes(n) <= MAX_CHUNK_BYTES:
            raise ShowerFileError(
                f"{path}: {name}: basket {n} has {branch.basket_uncompressed_bytes(n)} bytes, expected"
                f" at most {MAX_CHUNK_BYTES}"
            )


def _cells(arrays: dict[str, Any], mapping: RootMapping, path: Path, first: int) -> NDArray[np.float32]:
    """Return energies in MeV, shape (event, x, y, layer)."""
    if mapping.indices:
        cells = _from_hits(arrays, mapping, path, first)
    else:
        lengths, flat = _flat(arrays[mapping.cells])
        wrong = lengths != int(np.prod(mapping.shape))
        if wrong.any():
            event, n = first + int(wrong.argmax()), int(lengths[wrong.argmax()])
            raise ShowerFileError(
                f"{path}: {mapping.cells}: event {event}: {n} cells, expected {mapping.shape}"
            )
        cells = flat.reshape(len(lengths), *mapping.shape)
        check_values(cells, mapping.cells, path, first, unit="")
    cells = (cells * mapping.scales.get("cells", 1)).astype(np.float32, copy=False)
    cells[cells < mapping.threshold_mev] = 0.0
    return cells


def _flat(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return how many numbers each entry of an array holds, and all of them, entry after entry."""
    if values.dtype != object:
        n = int(np.prod(values.shape[1:]))
        return np.full(len(values), n), values.reshape(-1)
    lengths = np.array([each.size for each in values])
    return lengths, np.concatenate([each.reshape(-1) for each in values])


def _from_hits(
    arrays: dict[str, Any], mapping: RootMapping, path: Path, first: int
) -> NDArray[np.float64]:
    """Return the sums of hits in cells."""
    lengths, energy = _flat(arrays[mapping.cells])
    event = np.repeat(np.arange(len(lengths)), lengths)

    def check(sound: NDArray[np.bool_], values: NDArray[Any], name: str, expected: str) -> None:
        if not sound.all():
            at = int((~sound).argmax())
            where = f"event {first + int(event[at])}"
            raise ShowerFileError(f"{path}: {name}: {where}: {values[at]:g}, expected {expected}")

    check(energy >= 0, energy, mapping.cells, "0 or more")
    check(np.isfinite(energy), energy, mapping.cells, "a finite number")
    sizes = mapping.shape if len(mapping.indices) == 3 else (int(np.prod(mapping.shape)),)
    numbers = []
    for name, size in zip(mapping.indices, sizes, strict=True):
        n_each, index = _flat(arrays[name])
        if (n_each != lengths).any():
            raise ShowerFileError(f"{path}: {name}: not as long as {mapping.cells} in every event")
        sound = (index >= 0) & (index < size) & (index == np.floor(index))
        check(sound, index, name, f"a whole number from 0 to {size - 1}")
        numbers.append(index.astype(np.int64))
    flat = np.ravel_multi_index((event, *numbers), (len(lengths), *sizes))
    total = len(lengths) * int(np.prod(mapping.shape))
    sums = np.bincount(flat, energy, minlength=total).astype(np.float64)
    return sums.reshape(len(lengths), *mapping.shape)


def _columns(
    arrays: dict[str, Any], mapping: RootMapping, path: Path, first: int
) -> dict[str, NDArray[Any]]:
    """Return the columns in the units of `THREE_D_GAN`, each checked."""
    n = len(arrays[mapping.cells])
    columns = {}
    for name, source in mapping.columns.items():
        if isinstance(source, str):
            n_each, values = _flat(arrays[source])
            if (n_each != 1).any():
                raise ShowerFileError(f"{path}: {source}: expected one number in each entry")
        else:
            values = np.full(n, float(source))
        values = values * mapping.scales.get(name, 1)
        check_columns({name: values}, THREE_D_GAN, path, first)
        columns[name] = values.astype(_COLUMNS[name].dtype)
    return columns
