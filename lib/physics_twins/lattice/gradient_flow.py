"""The gradient flow of SU(N): smooth fields, their energy, topological charge and the scale t0.

By Wilson's action, integrated as Luescher did (2010, JHEP 08, 071, appendix C).
"""

import math
from typing import Any

import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.lattice import gauge
from physics_twins.lattice import matrices as su
from physics_twins.lattice.geometry import crossings, neighbours, refuse_part
from physics_twins.lattice.simulate import DIRECTIONS

T0_LEVEL = 0.3


def gradient_flow(
    configuration: xr.DataArray, *, longest: float = 4.0, step: float = 0.02, every: int = 5
) -> xr.Dataset:
    """Return what a configuration becomes along the gradient flow.

    Args:
        configuration: Links of periodic SU(2) or SU(3) in four dimensions, one field of `simulate`
            or of `files`.
        longest: Time of the flow at its end, in squares of the lattice spacing.
        step: Step in time; errors grow with its third power.
        every: Steps between two measurements.

    Returns:
        Along `flow_time` the `energy` density E of the clover and `t2_energy`, t^2 E, and the `charge`;
        `t0`, where t^2 E is 0.3, not a number where the flow is too short.

    Raises:
        ValueError: It is no such field.
    """
    field = configuration.squeeze()
    if field.dims[:4] != DIRECTIONS or field.sizes.get("part") != 2 or field.sizes["row"] > 3:
        raise ValueError(f"links of SU(2) or SU(3) in four dimensions are needed, found {field.dims}")
    refuse_part(field)
    values = np.ascontiguousarray(field.values).view(np.complex128)[..., 0]
    shape, links = values.shape[:4], values.reshape(-1, *values.shape[4:]).copy()
    hop, crossed, colours = neighbours(shape), crossings(shape, 0), (0.0,) * links.shape[-1]
    times, found = [0.0], [clover(links, hop, colours)]
    for n in range(1, round(longest / step) + 1):
        _step(links, hop, crossed, step, colours)
        if n % every == 0:
            times.append(n * step)
            found.append(clover(links, hop, colours))
    energy, charge = np.array(found).T
    flown = np.array(times)
    t2_energy = flown**2 * energy
    pure = {"units": "1"}
    return xr.Dataset(
        {
            "energy": ("flow_time", energy, pure | {"long_name": "Energy density"}),
            "t2_energy": ("flow_time", t2_energy, pure | {"long_name": "Energy density times t²"}),
            "charge": ("flow_time", charge, pure | {"long_name": "Topological charge"}),
            "t0": ((), _crossing(flown, t2_energy), pure | {"long_name": "Scale t0"}),
        },
        {"flow_time": ("flow_time", flown, pure | {"long_name": "Time of the flow, t / a²"})},
    )


def _crossing(times: NDArray[Any], values: NDArray[Any]) -> float:
    above = np.flatnonzero(values > T0_LEVEL)
    if not len(above) or above[0] == 0:
        return math.nan
    i = above[0]
    part = (T0_LEVEL - values[i - 1]) / (values[i] - values[i - 1])
    return float(times[i - 1] + part * (times[i] - times[i - 1]))


def _step(links: Any, hop: Any, crossed: Any, step: float, colours: Any) -> None:
    """Move links in place by one step of third order."""
    # With this beta a kick adds the gradient that the flow follows.
    beta, z = 2.0 * len(colours), np.zeros_like(links)
    gauge.kick(links, z, hop, crossed, beta, 0.25 * step, colours)
    gauge.drift(links, z, 1.0, colours)
    z *= -17 / 9
    gauge.kick(links, z, hop, crossed, beta, 8 / 9 * step, colours)
    gauge.drift(links, z, 1.0, colours)
    z *= -1.0
    gauge.kick(links, z, hop, crossed, beta, 0.75 * step, colours)
    gauge.drift(links, z, 1.0, colours)


@numba.njit(cache=True, nogil=True)
def clover(links: Any, hop: Any, colours: Any) -> Any:
    """Return the mean energy density and the charge, from the clover's field strength.

    Args:
        links: Periodic, (site, 4, N, N).
        hop: What `geometry.neighbours` returns.
        colours: What `gauge.colours_of` returns.
    """
    n = len(colours)
    strength = np.empty((6, n, n), dtype=np.complex128)
    a, b, leaf = np.empty((3, n, n), dtype=np.complex128)
    energy, charge = 0.0, 0.0
    for x in range(len(links)):
        plane = 0
        for mu in range(3):
            for nu in range(mu + 1, 4):
                total = strength[plane]
                total[:] = 0
                left, under = hop[x, 4 + mu], hop[x, 4 + nu]
                corner = hop[left, 4 + nu]
                # Each leaf begins and ends at x and turns the same way.
                su.product(links[x, mu], links[hop[x, mu], nu], a, colours)
                su.product_dagger(a, links[hop[x, nu], mu], b, colours)
                su.product_dagger(b, links[x, nu], leaf, colours)
                total += leaf
                su.product_dagger(links[x, nu], links[hop[left, nu], mu], a, colours)
                su.product_dagger(a, links[left, nu], b, colours)
                su.product(b, links[left, mu], leaf, colours)
                total += leaf
                su.product(links[corner, nu], links[left, mu], a, colours)
                su.dagger_product(a, links[corner, mu], b, colours)
                su.product(b, links[under, nu], leaf, colours)
                total += leaf
                su.dagger_product(links[under, nu], links[under, mu], a, colours)
                su.product(a, links[hop[under, mu], nu], b, colours)
                su.product_dagger(b, links[x, mu], leaf, colours)
                total += leaf
                _to_algebra(total, 0.25, colours)
                energy -= _trace(total, total, colours)
                plane += 1
        # Planes are 01, 02, 03, 12, 13, 23.
        charge -= _trace(strength[0], strength[5], colours) - _trace(strength[1], strength[4], colours)
        charge -= _trace(strength[2], strength[3], colours)
    return energy / len(links), charge / (4 * math.pi**2)


@numba.njit(cache=True, nogil=True)
def _to_algebra(m: Any, factor: float, colours: Any) -> None:
    n, mean = len(colours), 0.0
    for i in range(n):
        mean += m[i, i].imag / n
    for i in range(n):
        for j in range(i + 1):
            part = 0.5 * factor * (m[i, j] - m[j, i].conjugate())
            m[i, j], m[j, i] = part, -part.conjugate()
        m[i, i] = complex(0.0, m[i, i].imag - factor * mean)


@numba.njit(cache=True, nogil=True)
def _trace(a: Any, b: Any, colours: Any) -> float:
    total = 0.0
    for i in range(len(colours)):
        for k in range(len(colours)):
            total += (a[i, k] * b[k, i]).real
    return total
