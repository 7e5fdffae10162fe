"""The lattice's panel: a field, the history of its chain and what it says, while the chain runs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, LayoutDOM
from numpy.typing import NDArray

from physics_twins import lattice, models
from physics_twins.figures.style import BLUE, GREEN, VERMILLION
from twin_panels.background import Background, sentence
from twin_panels.controls import Controls
from twin_panels.figures import (
    FollowingRange,
    LiveImage,
    ends_around,
    fill,
    frame,
    place_legend,
    retitle,
)
from twin_panels.panel import Panel

SEED = 5
N_PIECES = 30  # of the chain that is shown
N_SHOWN = 2000  # points of a history
FIRST = ("theory", "side", "quartic", "beta", "sampler", "mass2")
WITHOUT = ("n_measurements", "n_chains", "n_kept")
# The largest side that is drawn while one waits, by dimensions; of SU(N), half of it.
LARGEST = {1: 512, 2: 64, 3: 16, 4: 8}
# What is shown: its history, and which number of `measured` with which words.
SHOWN = {
    "phi4": ("magnetisation", "susceptibility", "Susceptibility"),
    "u1": ("charge", "charge_squared", "Mean square of the charge"),
    "su2": ("plaquette", "plaquette", "Mean plaquette"),
    "su3": ("plaquette", "plaquette", "Mean plaquette"),
}
SCALE = {"phi4": 1.0, "u1": 2.0}  # of the picture, whose colours go from -1 to 1
# CPU time of an update of a site, over that of the cluster algorithm, about.
DEAR = {"phi4": 4, "u1": 30, "su2": 200, "su3": 600}
PIECE_SITES = 2e7  # site updates of phi^4 in a piece: half a second


@dataclass(frozen=True)
class Drawn:
    """A chain so far.

    Attributes:
        picture: What `lattice.local` makes of the last field, (t, x).
        history: Of what is watched, (measurement).
        found: What `lattice.measured` says.
        acceptance: Of all updates so far.
    """

    picture: NDArray[np.floating]
    history: xr.DataArray
    found: dict[str, lattice.Measured]
    acceptance: float

    def watched(self, theory: str) -> lattice.Measured:
        """Return the number that is watched as it settles."""
        return self.found.get(SHOWN[theory][1]) or self.found["plaquette"]


class LatticePanel(Panel[lattice.LatticeParameters]):
    """Sliders of a theory beside a chain of it that runs: field, history, and a number as it settles.

    A number that is not to be quoted, since the topology is frozen or the chain too short, is drawn in
    another colour, and the title says why.
    """

    notebook = "lattice/1_simulate"
    use = f"""from physics_twins import figures
from twin_panels.lattice import drawn, previewed
from twin_panels.lattice_figure import figure_of
figures.load_extension()
*before, chain = drawn(previewed(parameters), SEED, n_pieces={N_PIECES})
print({{name: number.text for name, number in chain.found.items()}})
figure_of(previewed(parameters), [*before, chain])"""

    def __init__(
        self,
        start: lattice.LatticeParameters | None = None,
        *,
        seed: int = SEED,
        n_pieces: int = N_PIECES,
    ) -> None:
        """Begin the first chain.

        Args:
            start: Parameters to begin with; how long chains are does not count.
            seed: Of the chains.
            n_pieces: After how many pieces a chain ends.
        """
        self._seed, self._n_pieces = seed, n_pieces
        self._background = Background(self._show_drawn)
        self._course: list[tuple[float, float, float, bool]] = []
        start = start or lattice.LatticeParameters(theory="u1", beta=7.0)
        names = [name for name in start.describe() if name not in (*FIRST, *WITHOUT)]
        super().__init__(start, Controls(start, names=[*FIRST, *names], ends={"beta": (0.0, 12.0)}))

    def build(self) -> LayoutDOM:
        """Return the three figures, one above the other."""
        fixed = {"sizing_mode": "fixed", "width": 430, "height": 330}
        self.field = frame(x="x, in lattice spacings", y="t, in lattice spacings", **fixed)
        self.image = LiveImage(self.field, low=-1, high=1, unit="φ, flux / π, or Re tr P / N")
        self._n, self._mean, self._value = FollowingRange(), FollowingRange(), FollowingRange()
        along: dict[str, Any] = {"x": "Measurements", "x_range": self._n.model}
        self.course = frame(y="Mean and error", height=230, y_range=self._mean.model, **along)
        self.trace = frame(y="History", height=200, y_range=self._value.model, **along)
        self.means = ColumnDataSource(
            {n: [] for n in ("n", "low", "high", "quoted", "flagged", "exact")}
        )
        self.course.varea("n", "low", "high", source=self.means, color=BLUE, alpha=0.2)
        for name, words, colour in (
            ("quoted", "quoted", BLUE),
            ("flagged", "not to be quoted", VERMILLION),
            ("exact", "exact", GREEN),
        ):
            dash = "dashed" if name == "exact" else "solid"
            drawn = {"color": colour, "legend_label": words, "line_dash": dash, "line_width": 2}
            self.course.line("n", name, source=self.means, **drawn)
        place_legend(self.course, above=True)
        self.comparison.watch(self.course, self.means, "n", "quoted")
        self.series = ColumnDataSource({"n": [], "value": []})
        self.trace.line("n", "value", source=self.series, color=BLUE, line_width=1)
        self.trace.toolbar_location = None
        return column(self.field, self.course, self.trace, sizing_mode="stretch_width")

    def compute(self, parameters: lattice.LatticeParameters) -> xr.Dataset:
        """Begin a chain, and return what is known beforehand."""
        asked = previewed(parameters)
        exact = lattice.exact.known(asked)
        flow = flow_in_words(asked)
        self._asked, self._exact, self._flow = asked, exact, flow
        self._background.ask(lambda: drawn(asked, self._seed, self._n_pieces))
        size = " x ".join(map(str, asked.shape))
        return xr.Dataset(attrs={"title": f"{asked.theory} on {size} by {asked.method}"})

    def show(self, data: xr.Dataset) -> None:
        """Name the chain that begins; the last one stays until its first piece is there.

        Axes end where the chain will; heights follow it as it grows, and only grow while a hand drags.
        """
        self._n.follow(0.0, float(self._n_pieces * piece_of(self._asked)))
        self._course = []
        retitle(self.field, data.attrs["title"])
        self._tell("The chain is warming up.")

    def wait(self) -> None:
        """Wait until the chain has ended."""
        self._background.wait()

    def _show_drawn(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._tell(f"Not drawn: {sentence(result)}")
            return
        asked, n = self._asked, len(result.history)
        watched, name, words = SHOWN[asked.theory]
        number = result.watched(asked.theory)
        told = number.estimate
        self._course.append((n, told.value, told.error, bool(number.reason)))
        places, values, errors, flagged = np.array(self._course, dtype=float).T
        with self._canvas.one_patch():
            rows, columns = result.picture.shape
            self.image.show(
                SCALE.get(asked.theory, 1.0) * result.picture, x=(0.0, columns), y=(0.0, rows)
            )
            fill(
                self.means,
                {
                    "n": places,
                    "low": values - errors,
                    "high": values + errors,
                    "quoted": np.where(flagged > 0, np.nan, values),
                    "flagged": np.where(flagged > 0, values, np.nan),
                    "exact": np.full(len(values), self._exact.get(name, np.nan)),
                },
            )
            heights = values - errors, values + errors, [self._exact.get(name, np.nan)]
            self._mean.follow(*ends_around(*heights), hold=self.drags)
            self._value.follow(*ends_around(result.history.values), hold=self.drags)
            step = max(1, n // N_SHOWN)
            fill(self.series, {"n": np.arange(n)[::step], "value": result.history.values[::step]})
            retitle(self.course, f"{words}: {number.text.partition(',')[0]}")
            frozen = "frozen" in number.reason
            tau = "is not known from this chain" if frozen else f"{number.tau.text} measurements"
            retitle(self.trace, f"{watched.capitalize()}; autocorrelation time {tau}")
        self._tell(self._in_words(result))

    def _in_words(self, result: Drawn) -> str:
        n, number = len(result.history), result.watched(self._asked.theory)
        parts = [f"{self._asked.method}: {100 * result.acceptance:.0f} % of updates accepted."]
        if not number.reason:
            parts.append(f"Effective sample size {n / (2 * number.tau.value):.0f} of {n}.")
        for name, number in result.found.items():
            exact = f", exact {self._exact[name]:.6g}" if name in self._exact else ""
            parts.append(f"{name.replace('_', ' ')} {number.text}{exact}.")
        return " ".join([*parts, self._flow]).strip()


def previewed(parameters: lattice.LatticeParameters) -> lattice.LatticeParameters:
    """Return parameters of a chain that runs while one looks on: with few enough sites for that."""
    largest = LARGEST[parameters.n_dimensions] // (2 if parameters.theory.startswith("su") else 1)
    side, n_time = min(parameters.side, largest), min(parameters.n_time, largest)
    return parameters.replace(side=side, n_time=n_time, n_measurements=10, n_chains=1, n_kept=1)


def piece_of(parameters: lattice.LatticeParameters) -> int:
    """Return how many measurements are made between two looks at a chain."""
    cost = DEAR[parameters.theory] * math.prod(parameters.shape) * parameters.interval
    return int(np.clip(PIECE_SITES / cost, 10, 400))


def drawn(parameters: lattice.LatticeParameters, seed: int, n_pieces: int) -> Iterator[Drawn]:
    """Yield a chain as it grows."""
    piece, watched = piece_of(parameters), SHOWN[parameters.theory][0]
    accepted: list[float] = []
    pieces: list[xr.Dataset] = []
    for number, each in enumerate(lattice.running(parameters, seed=seed, piece=piece)):
        pieces.append(each.drop_vars(["field", "kept", "acceptance", "setting"]))
        accepted.append(float(each["acceptance"].values[0]))
        chain = xr.concat(pieces, "measurement", join="exact", combine_attrs="override")
        history = chain[watched].isel(chain=0)
        if watched == "charge":
            history = history.copy(data=np.rint(history.values))  # up to rounding it is an integer
        picture = lattice.local(each["field"].isel(chain=0, kept=0)).values
        yield Drawn(picture, history, lattice.measured(chain), float(np.mean(accepted)))
        if number + 1 == n_pieces:
            break


def flow_in_words(parameters: lattice.LatticeParameters) -> str:
    """Return what the flow of this very theory reaches, by its card; "" where none ships."""
    try:
        model = models.find(f"{parameters.theory}-flow-{parameters.side}")
        facts = model.config
        told = [facts["beta"]] if parameters.is_gauge else [facts["quartic"], sum(facts["masses"])]
    except (models.ModelError, KeyError):
        return ""
    asked = [getattr(parameters, name) for name in ("quartic", "mass2")]
    asked = [parameters.beta] if parameters.is_gauge else asked
    same = tuple(facts["shape"]) == parameters.shape and not parameters.n_c_directions
    if not same or not np.allclose(told, asked):
        return ""
    acceptance, ess = (model.manifest.metrics[name].value for name in ("acceptance", "ess"))
    return f"The flow {model}: acceptance {acceptance:.3f}, effective sample size {ess:.4f}."
