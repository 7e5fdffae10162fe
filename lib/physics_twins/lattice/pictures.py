"""A picture of a field in two of its directions, and what it is made of."""

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.figures.style import FRAME, colour_bar, styled

_DIVERGING = "RdBu_r"


def picture(chains: xr.Dataset, number: int = 0, *, title: str = "") -> hv.Image:
    """Return the field that a chain kept last, in the first two of its directions, as an image.

    Of phi4 the field itself, of U(1) the flux through plaquettes over 2 pi, whose sum is the charge, of
    SU(N) the real part of each plaquette's trace over N. Boundaries are taken as periodic.

    Args:
        chains: In the form of `simulate`, with a kept field.
        number: Which chain.
        title: What is seen.
    """
    shown = local(chains["field"].isel(chain=number, kept=-1))
    largest = max(1e-9, float(abs(shown).max()))
    axes = [
        hv.Dimension(name, label=f"{name}, in lattice spacings") for name in map(str, shown.dims[::-1])
    ]
    value = hv.Dimension("value", label=str(shown.attrs["long_name"]))
    places = [np.arange(shown.sizes[axis.name]) for axis in axes]
    return styled(
        hv.Image((*places, shown.values), axes, value),
        title=title or value.label,
        clim=(-largest, largest),
        width=430,
        height=380,
        tools=["hover"],
        **colour_bar(str(value.label)) | {"cmap": _DIVERGING},
        **FRAME,
    )


def local(field: xr.DataArray) -> xr.DataArray:
    """Return what `picture` draws of one field, (t, x), at 0 in further directions."""
    plane = field.isel({name: 0 for name in ("y", "z") if name in field.dims})
    if "direction" not in field.dims:
        return plane.assign_attrs(long_name="Field")
    time, space = (plane.isel(direction=n).values for n in (0, 1))
    if "part" not in field.dims:
        angles = time - space + np.roll(space, -1, 0) - np.roll(time, -1, 1)
        values, about = angles / (2 * np.pi) - np.rint(angles / (2 * np.pi)), "Flux through plaquettes"
    else:
        time, space = time[..., 0] + 1j * time[..., 1], space[..., 0] + 1j * space[..., 1]
        back = np.conj(np.swapaxes(space @ np.roll(time, -1, 1), -1, -2))
        loops = time @ np.roll(space, -1, 0) @ back
        values, about = np.einsum("txii->tx", loops).real / time.shape[-1], "Trace of plaquettes"
    return xr.DataArray(values, dims=("t", "x"), attrs={"units": "1", "long_name": about})
