"""Geant4 at what a panel shows now: fired on workers at the press of a button, shown part by part."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import xarray as xr

from physics_twins import clusters
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.projections import profiles
from physics_twins.calorimeter.simulate import chunk
from twin_panels.background import Background
from twin_panels.farmed import farmed, growing
from twin_panels.handover import button

N_SHOWERS, N_PART = 40, 5
FIRE, STOP = "Geant4 here", "Stop Geant4"


class Geant4Here:
    """A button that fires Geant4, and its showers as they come.

    Pressed again it stops; so it does when the panel moves on.

    Args:
        where: Returns the parameters to fire at.
        deliver: Called with `profiles` of all showers so far, None where they are no longer those of
            what is shown, or the exception that ended it.
        client: A Dask client whose workers fire; without one, processes of this machine's own, which
            end with the showers.
        seed: Of the showers.

    Attributes:
        button: The button.
    """

    def __init__(
        self,
        where: Callable[[], CalorimeterParameters],
        deliver: Callable[[xr.Dataset | Exception | None], None],
        *,
        client: Any = None,
        seed: int,
    ) -> None:
        self._where, self._deliver, self._client, self._seed = where, deliver, client, seed
        self._background = Background(self._came, settle_s=0.0)
        self._firing = self._shown = False
        told = f"Fire {N_SHOWERS} showers of Geant4 at this energy, angle and absorber"
        self.button = button(FIRE, told, "bolt")
        self.button.on_click(lambda _: self.stop() if self._firing else self.fire())

    def fire(self) -> None:
        """Begin to fire at what is shown now."""
        parameters = self._where().replace(n_showers=N_SHOWERS)
        self._say(firing=True)
        self._background.ask(lambda: _fired(parameters, self._seed, self._client))

    def stop(self) -> None:
        """Fire no more; what has come stays."""
        if self._firing:
            self._background.ask(lambda: iter(()))
            self._say(firing=False)

    def moved(self) -> None:
        """Stop, and take back what belongs to other parameters."""
        self.stop()
        if self._shown:
            self._shown = False
            self._deliver(None)

    def wait(self) -> None:
        """Wait until all showers have come, or firing has stopped."""
        self._background.wait()

    def _came(self, result: xr.Dataset | Exception) -> None:
        failed = isinstance(result, Exception)
        self._shown = self._shown or not failed
        if failed or result.sizes["shower"] >= N_SHOWERS:
            self._say(firing=False)
        self._deliver(result)

    def _say(self, *, firing: bool) -> None:
        self._firing = firing
        self.button.description, self.button.icon = (STOP, "stop") if firing else (FIRE, "bolt")


def _fired(parameters: CalorimeterParameters, seed: int, client: Any) -> Iterator[xr.Dataset | None]:
    """Yield the profiles of more showers each time, None while there is nothing new."""
    firsts = range(0, parameters.n_showers, N_PART)
    calls = [partial(_part, parameters, seed, first) for first in firsts]
    with nullcontext(client) if client else clusters.connect("local") as workers:
        yield from growing(farmed(workers, calls), "shower")


def _part(parameters: CalorimeterParameters, seed: int, first: int) -> xr.Dataset:
    return profiles(chunk(parameters, seed, first, N_PART))
