"""Figures of strain: spectra beside the detector's noise, what a subtraction left, tiles in colour."""

from collections.abc import Mapping

import holoviews as hv
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal

from physics_twins import figures
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    GREY,
    HEIGHT,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    colour_bar,
    legend,
    styled,
)
from physics_twins.virgo.certificate import Certificate
from physics_twins.virgo.qtransform import picture
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, GREY)
_FREQUENCY = hv.Dimension("frequency", label="Frequency", unit="Hz")
_PART_S = 4.0
_SHOWN_HZ = (10.0, 450.0)


def spectra(
    stretch: xr.Dataset, shown: Mapping[str, Series], *, title: str, from_s: float = 0.0
) -> hv.Overlay:
    """Return amplitude spectral densities, the detector's noise dashed.

    Args:
        stretch: From `simulate`.
        shown: Series of strain by their name in the legend, each of shape (time,), six at most.
        title: What is seen.
        from_s: Where to begin.
    """
    rate_hz = float(stretch.attrs["sample_rate_hz"])
    density = hv.Dimension("density", label="Strain's spectral density", unit="1/√Hz")
    parts = []
    for (name, series), colour in zip(shown.items(), _COLOURS, strict=False):
        inside = stretch["time"].values >= from_s
        n_part = round(_PART_S * rate_hz)
        frequency_hz, psd = signal.welch(series[inside], rate_hz, nperseg=n_part)
        kept = (frequency_hz >= _SHOWN_HZ[0]) & (frequency_hz <= min(_SHOWN_HZ[1], 0.45 * rate_hz))
        curve = hv.Curve((frequency_hz[kept], np.sqrt(psd[kept])), _FREQUENCY, density, label=name)
        parts.append(styled(curve, color=colour, line_width=1.2, tools=["hover"]))
    grid = np.geomspace(*_SHOWN_HZ, 200)
    noise = noise_asd(grid, stretch.attrs["detector"])
    model = hv.Curve((grid, noise), _FREQUENCY, density, label="noise")
    parts.append(styled(model, color="black", line_dash="dashed"))
    around = (0.3 * noise.min(), 3e3 * noise.min())
    options = {"title": title, "logx": True, "logy": True, "ylim": around, "width": WIDTH}
    return styled(hv.Overlay(parts), **options, height=HEIGHT, **legend(len(parts)), **FRAME)


def bands(account: xr.Dataset, *, title: str) -> hv.Overlay:
    """Return what a subtraction left of the coupled power in each band, beside the oracle.

    Args:
        account: From `removed_by_band`.
        title: What is seen.
    """
    middle_hz = np.sqrt(account["low"].values * account["high"].values)
    left = hv.Dimension("left", label="Part of the coupled power that is left")
    parts = []
    for name, label, colour in (("removed", "filter", BLUE), ("removed_limit", "oracle", VERMILLION)):
        remaining = np.maximum(1 - account[name].values, 1e-7)
        errors = account[f"{name}_error"].values
        curve = hv.Curve((middle_hz, remaining), _FREQUENCY, left, label=label)
        spread = np.minimum(errors, 0.9 * remaining)
        band = hv.Spread((middle_hz, remaining, spread, errors), _FREQUENCY, [left, "below", "above"])
        parts.append(styled(band, color=colour, fill_alpha=0.2, line_alpha=0))
        parts.append(styled(curve, color=colour, line_width=1.5, tools=["hover"]))
    options = {"title": title, "logx": True, "logy": True, "width": WIDTH, "height": 300}
    return styled(hv.Overlay(parts), **options, **legend(2), **FRAME)


def certificate(told: Certificate) -> hv.Overlay:
    """Return what a second's certificate says of each band: removed, and what the witnesses allow.

    Args:
        told: The certificate.
    """
    share = hv.Dimension("share", label="Part of the strain's power")
    middle_hz = [float(np.sqrt(band.low_hz * band.high_hz)) for band in told.bands]
    allowed = hv.Curve((middle_hz, [b.allowed for b in told.bands]), _FREQUENCY, share, label="allowed")
    removed = [(f, b.removed) for f, b in zip(middle_hz, told.bands, strict=True)]
    marks = hv.Scatter(removed, _FREQUENCY, share, label="removed")
    stopped = [each for each, band in zip(removed, told.bands, strict=True) if band.guarded]
    guarded = hv.Scatter(stopped, _FREQUENCY, share, label="guarded")
    parts = [
        styled(allowed, color=VERMILLION, line_width=1.5),
        styled(marks, color=BLUE, size=8, tools=["hover"]),
        styled(guarded, color=ORANGE, size=13, marker="x"),
    ]
    title = f"Certificate of GPS {told.gps_start_s:.0f}"
    options = {"title": title, "logx": True, "ylim": (-0.3, 1.05)}
    return styled(hv.Overlay(parts), **options, width=WIDTH, height=300, **legend(3), **FRAME)


def roc(curve: xr.Dataset, *, title: str) -> hv.Overlay:
    """Return the efficiency of vetoes over their deadtime, beside that of segments thrown at random.

    Args:
        curve: From `vetoes.roc`.
        title: What is seen.
    """
    spent, error = curve["deadtime"].values, curve["efficiency_error"].values
    place = {"way": ["vetoes", "chance"], "deadtime": ("deadtime", spent, {"long_name": "Deadtime"})}
    rows, errors = np.stack([curve["efficiency"].values, spent]), np.stack([error, 0 * spent])
    caught = xr.DataArray(rows, place, attrs={"long_name": "Efficiency"})
    figure = figures.curves(caught, caught.copy(data=errors), title=title, height=300)
    return styled(figure, xlim=(0.0, 0.01), ylim=(0.0, 1.02))


def tiles(
    white: Series, sample_rate_hz: float, *, start_s: float, title: str, quality: float = 8.0
) -> hv.QuadMesh:
    """Return the energies of tiles of a whitened series, over the median of each row.

    Args:
        white: Shape (time,), some seconds long.
        sample_rate_hz: Of it.
        start_s: Time of its first sample.
        title: What is seen.
        quality: Of the tiles.
    """
    import torch

    series = torch.from_numpy(np.ascontiguousarray(white))
    energies, tiling = picture(series, sample_rate_hz, quality=quality)
    n_frequencies, n_times = energies.shape
    time_s = start_s + (np.arange(n_times) + 0.5) * tiling.duration_s / n_times
    frequency_hz = np.geomspace(tiling.low_hz, tiling.high_hz, n_frequencies)
    axes = [hv.Dimension("time", label="Time", unit="s"), _FREQUENCY]
    mesh = hv.QuadMesh((time_s, frequency_hz, energies.numpy().astype(np.float32)), axes, ["energy"])
    options = colour_bar("Energy over median") | {"clim": (0.0, 25.0), "logy": True, "title": title}
    return styled(mesh, **options, width=WIDTH, height=300, **FRAME)


def training_course(history: xr.Dataset) -> hv.Overlay:
    """Return the loss of each validation of the network of filters; at 0 it is as good as the prior.

    Args:
        history: From `train`.
    """
    facts = {"long_name": "ln of power left over the prior's"}
    place = {"step": ("step", history["validation"].values, {"long_name": "Step"})}
    loss = xr.DataArray(history["validation_loss"].values, place, attrs=facts)
    title = "What the network leaves of filters' errors"
    return figures.series(loss, title=title, references={"prior alone": 0.0})
