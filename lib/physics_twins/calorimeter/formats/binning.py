"""The binning of CaloChallenge's files: rings and angles of each layer, as XML.

```xml
<Bins>
  <Bin pid="11" name="electron">
    <Layer id="0" r_edges="0,4.65,9.3" n_bin_alpha="16" />
  </Bin>
</Bins>
```

Source: the challenge's own files `binning_dataset_2.xml` and others (arXiv:2410.21611, section 2); its
tools know a particle by `name`. Files with `<Particle pid="electron">`, as were once written here, are
read too. Layers without `r_edges` or with one edge hold no cells.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from physics_twins.calorimeter.formats.shower_file import ShowerFileError
from physics_twins.data import write_text

_MAX_BYTES = 1 << 20
_MAX_LAYERS, _MAX_RINGS, _MAX_ANGLES, _MAX_CELLS = 1000, 10_000, 10_000, 10_000_000
# Numbers of the Particle Data Group.
_PARTICLES = {"electron": 11, "positron": -11, "photon": 22, "pion": 211}
_ELEMENTS = ("Bin", "Particle")


@dataclass(frozen=True)
class Layer:
    """Cells of one layer.

    Attributes:
        number: Its number in the detector.
        r_edges_mm: Edges of the rings, increasing; fewer than two for a layer without cells.
        n_angles: Number of angles that each ring is divided into.
    """

    number: int
    r_edges_mm: tuple[float, ...]
    n_angles: int

    @property
    def n_cells(self) -> int:
        """How many cells it has."""
        return max(len(self.r_edges_mm) - 1, 0) * self.n_angles


@dataclass(frozen=True)
class Binning:
    """Cells of a detector.

    Attributes:
        particle: What the showers were made by, in the challenge's words.
        layers: From front to back.
    """

    particle: str
    layers: tuple[Layer, ...]

    @property
    def n_cells(self) -> int:
        """Length of a shower in a file."""
        return sum(layer.n_cells for layer in self.layers)

    @property
    def grid(self) -> tuple[int, int, int] | None:
        """Number of layers, angles and rings where all layers are alike; None where they are not."""
        used = [layer for layer in self.layers if layer.n_cells]
        if not used or len({(layer.r_edges_mm, layer.n_angles) for layer in used}) > 1:
            return None
        return len(used), used[0].n_angles, len(used[0].r_edges_mm) - 1


def regular(particle: str, n_layers: int, n_angles: int, r_edges_mm: tuple[float, ...]) -> Binning:
    """Return the binning of layers that are all alike.

    >>> regular("electron", 45, 16, tuple(4.65 * n for n in range(10))).n_cells
    6480
    """
    layers = tuple(Layer(n, r_edges_mm, n_angles) for n in range(n_layers))
    return Binning(particle, layers)


def write_binning(binning: Binning, path: str | os.PathLike[str]) -> None:
    """Write a binning as the challenge's XML, in one step."""
    top = ElementTree.Element("Bins")
    number = _PARTICLES.get(binning.particle, 0)
    particle = ElementTree.SubElement(top, "Bin", {"pid": str(number), "name": binning.particle})
    for layer in binning.layers:
        edges = ",".join(repr(float(edge)) for edge in layer.r_edges_mm or (0.0,))
        angles = str(max(1, layer.n_angles))  # the challenge's own form of a layer without cells
        values = {"id": str(layer.number), "r_edges": edges, "n_bin_alpha": angles}
        ElementTree.SubElement(particle, "Layer", values)
    ElementTree.indent(top)
    write_text(Path(path), ElementTree.tostring(top, encoding="unicode") + "\n")


def read_binning(path: str | os.PathLike[str], *, particle: str = "") -> Binning:
    """Return the binning in an XML file.

    Args:
        path: The file.
        particle: Which of its particles; may be left out where it has one.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is no such XML, too large, or defines entities.
    """
    path = Path(path)
    with path.open("rb") as file:
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise ShowerFileError(f"{path}: more than {_MAX_BYTES} bytes, too large for a binning")
    _refuse_declarations(raw, path)
    top = ElementTree.fromstring(raw)  # noqa: S314 (it declares nothing: checked above)
    found = {_name(each): each for element in _ELEMENTS for each in top.iter(element)}
    if not found:
        raise ShowerFileError(f"{path}: Bin: missing, this is no binning")
    if not particle and len(found) > 1:
        raise ShowerFileError(f"{path}: Bin: choose one of {', '.join(found)}")
    name = particle or next(iter(found))
    if name not in found:
        raise ShowerFileError(f"{path}: Bin: no {name!r}, but {', '.join(found)}")
    layers = tuple(_layer(each, path) for each in found[name].iter("Layer"))
    binning = Binning(name, layers)
    if not 0 < len(layers) <= _MAX_LAYERS or not 0 < binning.n_cells <= _MAX_CELLS:
        raise ShowerFileError(
            f"{path}: Layer: {len(layers)} layers with {binning.n_cells} cells, expected 1 to"
            f" {_MAX_LAYERS} layers and 1 to {_MAX_CELLS} cells"
        )
    return binning


def _name(element: ElementTree.Element) -> str:
    """Return the particle of an element: its name, or what its number stands for."""
    number = element.get("pid", "")
    by_number = {str(number): name for name, number in _PARTICLES.items()}
    return element.get("name") or by_number.get(number, number)


def _refuse_declarations(raw: bytes, path: Path) -> None:
    """Refuse XML that is not well formed, and a document type: it could declare exploding entities."""

    def refuse(*_: object) -> None:
        raise ShowerFileError(f"{path}: DOCTYPE: a binning declares nothing")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise ShowerFileError(f"{path}: no well-formed XML: {error}") from None


def _layer(element: ElementTree.Element, path: Path) -> Layer:
    try:
        number = int(element.get("id", ""))
        texts = [text for text in element.get("r_edges", "").split(",") if text.strip()]
        edges = tuple(map(float, texts))
        n_angles = int(element.get("n_bin_alpha", "0") or 0)
    except ValueError as error:
        raise ShowerFileError(f"{path}: Layer {element.get('id')!r}: {error}") from None
    sound = np.isfinite(edges).all() and all(e >= 0 for e in edges) and (np.diff(edges) > 0).all()
    if not sound or len(edges) > _MAX_RINGS:
        raise ShowerFileError(f"{path}: Layer {number}: r_edges: expected increasing radii in mm")
    if not 0 <= n_angles <= _MAX_ANGLES:
        raise ShowerFileError(f"{path}: Layer {number}: n_bin_alpha = {n_angles}: expected 0 or more")
    return Layer(number, edges, n_angles) if len(edges) > 1 and n_angles else Layer(number, (), 0)
