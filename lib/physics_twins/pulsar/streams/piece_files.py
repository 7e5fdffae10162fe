"""What is kept of an observation: pieces as files of its own format, and what is measured of pulses."""

import dataclasses
from pathlib import Path
from typing import Any

import xarray as xr

from physics_twins.data import Estimate
from physics_twins.pulsar.fitting.pulse_fit import PulseFit, PulseStart, fit_pulse
from physics_twins.pulsar.formats.observation_file import FilterbankHeader, ObservationReader
from physics_twins.pulsar.formats.sigproc import FilterbankWriter
from physics_twins.pulsar.formats.spectra import Spectra
from physics_twins.pulsar.streams.keeping import Decision


def write_piece(source: Spectra, folder: Path, start: int, stop: int) -> Path:
    """Write spectra `start` to `stop` and return the file.

    PSRFITS stays PSRFITS, at its own depth where one scale and offset of a single polarisation hold
    for the whole piece, else as 32-bit values; every other format and datasets become SIGPROC.
    """
    suffix = source.source.suffix if isinstance(source.source, ObservationReader) else ".fil"
    stem = source.path.stem if source.path else "piece"
    path = folder / f"{stem}_{start:012d}{suffix}"
    if suffix == ".sf":  # astropy is imported where it is needed
        from physics_twins.pulsar.formats import psrfits_pieces

        psrfits_pieces.write(source, path, start, stop)
    else:
        header = source.header_from(start)
        first = source.raw(start, 1)
        if first.dtype.kind != "u":
            header = dataclasses.replace(header, n_bits=32)
        with FilterbankWriter(path, _without_length(header)) as file:
            source.copy_to(file, start, stop)
    return path


def _without_length(header: FilterbankHeader) -> FilterbankHeader:
    """Leave out keywords that say something of the whole file."""
    others = tuple((name, value) for name, value in header.others if name != "rawdatafile")
    return dataclasses.replace(header, others=others)


# So much before a piece is read with it, for each channel's level and the noise.
BEFORE_S = 0.5


def measure_pulse(surroundings: xr.Dataset, decision: Decision) -> dict[str, Any]:
    """Return the parameters of a pulse, each with its 68 % interval.

    Scattering is not told from width: of a scattered pulse, `width_ms` is that of the best Gaussian,
    and `p_value` is low.

    Args:
        surroundings: With `data` (time, frequency), the piece and what is beside it.
        decision: The frame of the pulse.

    Returns:
        `dm_pc_cm3`, `width_ms`, `time_s` and `snr`, each with `value`, `low`, `high` and `unit`, and
        `p_value`; only `problem` where nothing can be fitted.
    """
    # The filter that found it is as wide as the pulse at half its height.
    start = PulseStart(decision.dm_pc_cm3, decision.time_s, 1e-3 * decision.width_ms)
    try:
        fit = fit_pulse(surroundings, start)
        return {name: each.model_dump() for name, each in _estimates(fit).items()} | {
            "p_value": fit.p_value
        }
    except ValueError as error:
        return {"problem": str(error)}


def _estimates(fit: PulseFit) -> dict[str, Estimate]:
    pulse = fit.pulses.isel(pulse=0)
    own = {"time_s": ("time_error_s", "s"), "snr": ("snr_error", "1")}
    return fit.parameters | {
        name: Estimate.of(pulse[name].item(), pulse[error].item(), unit)
        for name, (error, unit) in own.items()
    }
