"""A telescope in numbers: what was fitted to a recording, kept as a netCDF file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import __version__
from physics_twins.data import open_dataset, save
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.telescopes.levelling import Levelling
from physics_twins.pulsar.telescopes.marginals import SHAPE_NODES
from physics_twins.pulsar.telescopes.renewal import PROBABILITIES
from physics_twins.pulsar.telescopes.telescope_impulses import WideEvents
from physics_twins.pulsar.telescopes.telescope_noise import Noise
from physics_twins.pulsar.telescopes.telescope_transmitters import Transmitter
from physics_twins.pulsar.telescopes.transmitter_table import TransmitterTable, from_table, to_table


@dataclass(frozen=True)
class TelescopeModel:
    """Receiver, noise and interference of a telescope, as fitted to a recording.

    Attributes:
        header: Channels, the highest first, sampling time and bits of the recording.
        noise: What is there without interference.
        transmitters: What disturbs single channels.
        spill: Pairs of a transmitter's channel and one beside it that hears it, shape (spill, 2).
        spill_share: What share of the former's samples is found in the latter, shape (spill,).
        impulses: What all channels see at once.
        losses: Spectra that were not recorded.
        levelling: How the recorder levels its channels.
        source: Name of the recording.
        n_spectra: How many spectra the fit has seen.
        seed: Seed of the fit's random numbers.
    """

    header: FilterbankHeader
    noise: Noise
    transmitters: tuple[Transmitter, ...]
    spill: NDArray[np.int64]
    spill_share: NDArray[np.float64]
    impulses: WideEvents
    losses: WideEvents
    levelling: Levelling
    source: str
    n_spectra: int
    seed: int

    @property
    def occupancy(self) -> NDArray[np.float64]:
        """Share of the time for which a transmitter is on in each channel, shape (channel,)."""
        out = np.zeros(self.header.n_channels)
        for one in self.transmitters:
            out[one.channel] = one.occupancy
        return out

    def to_dataset(self) -> xr.Dataset:
        """Return the model as a dataset, each field a variable with its part's name before it."""
        parts = vars(self) | {"transmitters": to_table(self.transmitters)}
        variables = {
            f"{part}_{name}": (dimensions, getattr(parts[part], name), {"units": units})
            for part, (_, columns) in _PARTS.items()
            for name, (dimensions, units) in columns.items()
        }
        variables |= {
            name: (dimensions, vars(self)[name], {"units": "1"}) for name, dimensions in _SPILL.items()
        }
        header = self.header
        return xr.Dataset(
            variables,
            coords={
                "frequency": ("frequency", header.frequency_mhz, {"units": "MHz"}),
                "node": ("node", SHAPE_NODES, {"units": "1"}),
                "quantile": ("quantile", PROBABILITIES, {"units": "1"}),
            },
            attrs={
                "title": "A telescope's receiver, noise and interference, fitted to a recording",
                "n_bits": header.n_bits,
                "channel_width_mhz": header.channel_width_mhz,
                "sampling_time_s": header.sampling_time_s,
                "source_name": header.source_name,
                "source": self.source,
                "n_spectra": self.n_spectra,
                "seed": self.seed,
                "physics_twins_version": __version__,
            },
        )


def save_telescope(model: TelescopeModel, path: str | os.PathLike[str]) -> Path:
    """Write a model as netCDF-4 in one step; return its path."""
    return save(model.to_dataset(), Path(path))


def open_telescope(path: str | os.PathLike[str]) -> TelescopeModel:
    """Return a model that `save_telescope` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or holds no telescope; the message names file and field.
    """
    dataset = open_dataset(Path(path))
    try:
        return from_dataset(dataset)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_dataset(dataset: xr.Dataset) -> TelescopeModel:
    """Return the model that a dataset from `TelescopeModel.to_dataset` holds.

    Raises:
        ValueError: A field is missing, has the wrong dimensions, or a value that cannot be.
    """
    names = ("n_bits", "channel_width_mhz", "sampling_time_s", "source_name", "source", "n_spectra")
    for name in (*names, "seed"):
        if name not in dataset.attrs:
            raise ValueError(f"attribute {name}: missing, so that this is no fitted telescope")
    parts: dict[str, Any] = {}
    for part, (kind, columns) in _PARTS.items():
        values = {n: _checked(dataset, f"{part}_{n}", dims) for n, (dims, _) in columns.items()}
        parts[part] = kind(**{n: v if v.ndim else v.item() for n, v in values.items()})
    frequency_mhz = _checked(dataset, "frequency", ("frequency",))
    for name, nodes in (("node", SHAPE_NODES), ("quantile", PROBABILITIES)):
        if not np.array_equal(_checked(dataset, name, (name,)), nodes):
            raise ValueError(f"{name}: other values than this version's; fit the telescope again")
    parts |= {name: _checked(dataset, name, dimensions) for name, dimensions in _SPILL.items()}
    for name, pairs in (("noise_link", parts["noise"].link), ("spill", parts["spill"])):
        if pairs.size and not (pairs.min() >= 0 and pairs.max() < len(frequency_mhz)):
            raise ValueError(f"{name} = {pairs.max()}: must be 0 to {len(frequency_mhz) - 1}")
    try:
        transmitters = from_table(parts["transmitters"], n_channels=len(frequency_mhz))
    except ValueError as error:
        raise ValueError(f"transmitters_{error}") from None
    parts["transmitters"] = transmitters
    attributes = dataset.attrs
    header = FilterbankHeader(
        n_channels=len(frequency_mhz),
        n_bits=int(attributes["n_bits"]),
        first_frequency_mhz=float(frequency_mhz[0]),
        channel_width_mhz=float(attributes["channel_width_mhz"]),
        sampling_time_s=float(attributes["sampling_time_s"]),
        source_name=str(attributes["source_name"]),
    )
    return TelescopeModel(
        header=header,
        **parts,
        source=str(attributes["source"]),
        n_spectra=int(attributes["n_spectra"]),
        seed=int(attributes["seed"]),
    )


_Columns = Mapping[str, tuple[tuple[str, ...], str]]
_NOISE: _Columns = {
    "level": (("frequency",), "counts"),
    "sigma": (("frequency",), "counts"),
    "shape": (("frequency", "node"), "1"),
    "edge": (("band",), "1"),
    "spectrum": (("frequency", "band"), "1"),
    "mode": (("frequency", "mode"), "1"),
    "mode_edge": (("mode_band",), "1"),
    "mode_spectrum": (("mode", "mode_band"), "1"),
    "link": (("link", "end"), "1"),
    "correlation": (("link",), "1"),
}
_TRANSMITTERS: _Columns = {
    "n_states": (("transmitter",), "1"),
    "n_members": (("transmitter",), "1"),
    "channel": (("member",), "1"),
    "on": (("state",), "1"),
    "transition": (("transition",), "1"),
    "mean": (("mean",), "1"),
    "factor": (("factor",), "1"),
    "memory": (("transmitter",), "1"),
    "quantile": (("state_quantile",), "1"),
}
_SPILL = {"spill": ("spill_pair", "end"), "spill_share": ("spill_pair",)}
_LEVELLING: _Columns = {
    "n_spectra": ((), "1"),
    "mean": (("frequency",), "counts"),
    "step": (("frequency",), "1"),
    "memory": ((), "1"),
}


def _wide(kind: str, units: str) -> _Columns:
    times = (kind, "quantile")
    return {
        "on": (times, "1"),
        "off": (times, "1"),
        "on_memory": ((kind,), "1"),
        "off_memory": ((kind,), "1"),
        "strength": (times, units),
        "share": (("frequency",), "1"),
    }


_PARTS: Mapping[str, tuple[Any, _Columns]] = {
    "noise": (Noise, _NOISE),
    "transmitters": (TransmitterTable, _TRANSMITTERS),
    "impulses": (WideEvents, _wide("impulse_kind", "1")),
    "losses": (WideEvents, _wide("loss_kind", "counts")),
    "levelling": (Levelling, _LEVELLING),
}
_NOT_NEGATIVE = ("_sigma", "_spectrum", "_on", "_off")


def _checked(dataset: xr.Dataset, name: str, dimensions: tuple[str, ...]) -> NDArray[Any]:
    if name not in dataset.variables:
        raise ValueError(f"{name}: missing, so that this is no fitted telescope")
    array = dataset[name]
    if array.dims != dimensions:
        raise ValueError(f"{name}: dimensions {array.dims}, expected {dimensions}")
    values = array.values
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"{name}: not all values are finite numbers")
    if name.endswith(_NOT_NEGATIVE) and values.size and values.min() < 0:
        raise ValueError(f"{name} = {values.min():g}: must be 0 or more")
    return values
