"""The choice where a notebook's heavy work runs, with the script that a batch system would get."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import ipywidgets as ipw

from physics_twins import clusters
from twin_panels.background import Background

OTHER = ""
CHOICES = (
    ("this machine, processes", "local"),
    ("this machine, threads", "threads"),
    *((f"{name}, batch system", name) for name in clusters.BATCH_SYSTEMS),
    ("another section or address", OTHER),
)


class Where:
    """A choice among the clusters that `clusters.connect` knows.

    Attributes:
        chosen: The known words.
        address: A section such as `slurm-gpu` or `tcp://host:port`; used where `chosen` is `OTHER`.
        script: A job's script, "" as long as there is none.
        error: Why this cannot be used, in one sentence; "" if it can.
        widget: All of it.
    """

    def __init__(self, on: str) -> None:
        """Begin with this cluster."""
        self.script, self.error = "", ""
        known = [value for _, value in CHOICES]
        wide = {"description_width": "initial"}
        self.chosen = ipw.Dropdown(
            options=CHOICES, value=on if on in known else OTHER, description="Runs on", style=wide
        )
        self.address = ipw.Text(
            on if on not in known else "",
            placeholder="slurm-gpu or tcp://host:port",
            description="namely",
            continuous_update=True,
            style=wide,
        )
        self._shown = ipw.HTML()
        self._callbacks: list[Callable[[], None]] = []
        self._background = Background(self._deliver)
        for each in (self.chosen, self.address):
            each.observe(self._changed, "value")
        self.widget = ipw.VBox([ipw.HBox([self.chosen, self.address]), self._shown])
        self._changed()

    @property
    def value(self) -> str:
        """The word, section or address, allowed or not."""
        return self.chosen.value or self.address.value.strip()

    @value.setter
    def value(self, on: str) -> None:
        is_known = on in [value for _, value in CHOICES]
        self.address.value = "" if is_known else on
        self.chosen.value = on if is_known else OTHER

    @property
    def is_ready(self) -> bool:
        """Whether a run may start: a batch system's script has been shown before."""
        return not self.error and (bool(self.script) or not clusters.is_batch(self.value))

    def observe(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the choice, the script or the error has changed."""
        self._callbacks.append(callback)

    def wait(self) -> None:
        """Wait for the script."""
        self._background.wait()

    def _changed(self, _: Any = None) -> None:
        self.address.layout.display = "" if self.chosen.value == OTHER else "none"
        self.script, self.error = "", ""
        on = self.value
        try:
            clusters.check(on)
        except ValueError as error:
            self.error = "give a section or an address" if not on else str(error)
        is_read = not self.error and clusters.is_batch(on)
        self._shown.value = "Reading how its jobs are described …" if is_read else ""
        # Asked in any case, so that an answer about an earlier choice is dropped.
        self._background.ask(lambda: _described(on) if not self.error else iter(()))
        self._tell()

    def _deliver(self, result: Any) -> None:
        if isinstance(result, Exception):
            self.error, self._shown.value = str(result), ""
        else:
            self.script, n_jobs = result
            self._shown.value = (
                f"Nothing is submitted before you press Run. Then {n_jobs} with this script:"
                f'<pre tabindex="0" aria-label="Job script" style="max-height: 230px; overflow: auto; '
                f'padding: 6px; background: var(--jp-layout-color2, #eee)">{escape(self.script)}</pre>'
            )
        self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()


def _described(on: str) -> Iterator[tuple[str, str]]:
    """Yield a job's script and how many are submitted; nothing where `on` is no batch system."""
    if clusters.is_batch(on):
        script = clusters.job_script(on)
        low, high = clusters.how_many(on)
        number = f"{high} job{'s' * (high > 1)}" if low == high else f"{low} to {high} jobs"
        yield script, f"{number} of {on} start" if high > 1 else f"{number} of {on} starts"
