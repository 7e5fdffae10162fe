"""The run panel: any notebook, set, estimated, started, followed and found again."""

import threading
import time
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as ipw
from IPython.display import display

from physics_twins import runs
from physics_twins.runs import Run
from twin_panels import run_process, run_views
from twin_panels.background import Background
from twin_panels.controls import in_red
from twin_panels.handover import button
from twin_panels.links import Links
from twin_panels.run_commands import Commands
from twin_panels.run_controls import RunControls
from twin_panels.run_where import Where

LOOK_S = 0.5
N_LISTED = 12


class UnknownNotebook(ValueError):
    """A notebook that the panel cannot run; shown as its sentence alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class RunPanel:
    """Runs a notebook in a process of its own, which outlives this one.

    What it shows of a run is read from the run's folder: so a run that another panel or a terminal has
    started is followed too. `panel.controls["name"].value = ...` and `panel.start()` do what a hand
    does, without a browser too.

    Attributes:
        notebook: What is run.
        controls: Of its parameters.
        where: The choice where its heavy work runs.
        run: The run that is shown; None for none.
        message: Why something could not be done, in a sentence; "" if nothing failed.
        widget: All of it; a panel at the end of a cell is shown.
    """

    def __init__(self, name: str | Path, values: Mapping[str, Any] | None = None) -> None:
        """Show the controls, and what is known of earlier runs.

        Args:
            name: The notebook's name, as in `pulsar/4_infer`, or its path.
            values: Parameters to begin with; the notebook's own by default.

        Raises:
            UnknownNotebook: There is none of this name, or it declares its parameters wrongly.
            ParameterError: One of `values` is refused.
        """
        try:
            self.notebook = runs.notebook(name)
        except ValueError as error:
            raise UnknownNotebook(str(error)) from None
        begin = self.notebook.check(values or {})
        self.run: Run | None = None
        self.message = ""
        self._expected, self._found = run_views.said(self.notebook), None
        self._started: run_process.RunProcess | None = None
        self._computed: dict[str, Any] = {}
        self._is_stopping = self._is_filling = False
        self._lock = threading.RLock()  # the thread that follows a run shows what it sees by itself
        self._follower: threading.Thread | None = None
        self._facts = Background(self._deliver)
        self.controls = RunControls(self.notebook, begin)
        self.where = Where(begin["on"])
        self._commands = Commands(self.notebook, str(name), self.controls.numbers)
        self._build()
        self.controls.observe(self._changed)
        self.where.observe(self._changed)
        self._list_runs()
        going = [run for run in self._listed if run.status == "running"]
        if going:
            self._follow(going[0])
        self._changed()

    @property
    def values(self) -> dict[str, Any]:
        """All parameters as they stand, allowed or not."""
        return {**self.controls.values, "on": self.where.value}

    @property
    def refusal(self) -> str:
        """Why this cannot be run, in one sentence; "" if it can."""
        return self.controls.refusal or self.where.error

    @property
    def standing(self) -> str:
        """How far the run is that is shown, in a sentence."""
        return self._standing.value

    @property
    def is_going(self) -> bool:
        """Whether a run goes on that this panel follows."""
        starting = self._started is not None and not self._started.has_ended
        return starting or (self.run is not None and self.run.status == "running")

    def start(self) -> None:
        """Run the notebook in the background; what has finished with these values is run again."""
        if self.refusal or not self.where.is_ready or self.is_going:
            return
        self._say("")
        try:
            self._started = run_process.RunProcess(self.notebook, self.values, force=bool(self._found))
        except OSError as error:
            self._say(f"The run could not be started: {error}")
            return
        self._follow(None)

    def cancel(self) -> None:
        """Ask the run to stop; it keeps what it has done."""
        try:
            if self._started and not self._started.has_ended:
                self._started.stop()
            elif self.run:
                run_process.stop(self.run)
            self._is_stopping = True
        except (ValueError, OSError) as error:
            self._say(str(error))
        self.look()

    def resume(self) -> None:
        """Start the run that is shown once more, with its own values."""
        if self.run and self.run.status in run_views.AGAIN and not self.is_going:
            self.use_values()
            self.start()
            if not self.where.is_ready:
                self._say("Its job script is shown first: read it, then press Run.")

    def use_values(self) -> None:
        """Bring the controls to the values of the run that is shown."""
        if self.run:
            run = self.run
            self.where.value = run.provenance.get("on") or self.where.value
            self.controls.set(run.parameters)

    def look(self) -> None:
        """Read how far the run is, and show it."""
        with self._lock:
            started = self._started
            if started and (mine := started.run) and (self.run is None or self.run != mine):
                self.run = mine
                self._list_runs()
            if started and (complaint := started.complaint):
                self.message = complaint
            self._show()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until what was asked for in the background is known, and the run has ended.

        Raises:
            TimeoutError: The run goes on.
        """
        self.where.wait()
        self._facts.wait()
        if self._follower:
            self._follower.join(timeout_s)
            if self._follower.is_alive():
                raise TimeoutError(f"the run goes on after {timeout_s:g} s")
        self._facts.wait()

    def _ipython_display_(self) -> None:
        display(self.widget)

    def _changed(self) -> None:
        with self._lock:
            values = self.values
            self._found, self.message = None, ""
            if not self.refusal:
                self._commands.show(values)
                self._facts.ask(lambda: self._known(values))
            if self.controls.values != self._computed and not self.is_going:
                self.run = None  # it was another; where it runs makes no other
            self._computed = self.controls.values
            self._show()

    def _known(self, values: Mapping[str, Any]) -> Iterator[tuple[run_views.Expected, Run | None]]:
        """Yield, in a thread, what may take long: files are hashed, folders looked through."""
        found = self.notebook.find_finished(values)
        yield run_views.expected(self.notebook), found

    def _deliver(self, result: Any) -> None:
        with self._lock:
            if isinstance(result, Exception):
                self._say(str(result))
                return
            self._expected, self._found = result
            if self._found and not self.is_going:
                self.run = self._found
            self._show()

    def _follow(self, run: Run | None) -> None:
        """Follow a run, or that of the process just started, in a thread: other cells may be busy."""
        self.run, self._is_stopping = run, False
        self._follower = threading.Thread(target=self._keep_looking, name="run panel", daemon=True)
        self._follower.start()
        self._show()

    def _keep_looking(self) -> None:
        while self.is_going:
            self._try_to_look()
            time.sleep(LOOK_S)
        self._is_stopping = False
        self._list_runs()
        self._try_to_look()
        if self.run and self.run.status == "complete":
            self._expected = run_views.expected(self.notebook)
            self._found = self.run
            self._try_to_look()

    def _try_to_look(self) -> None:
        try:
            self.look()
        except (OSError, ValueError) as error:  # a folder that is moved away meanwhile
            self._say(f"The run cannot be read: {error}")

    def _choose(self, change: dict[str, Any]) -> None:
        if not self._is_filling and change["new"] is not None and not self.is_going:
            self.run = change["new"]
            self._say("")
            self._show()

    def _list_runs(self) -> None:
        found = runs.find(runs.default_root() / self.notebook.name, notebook=self.notebook.name)
        self._listed = found[::-1][:N_LISTED]
        rows = [(run_views.row(run, self.notebook.defaults), run) for run in self._listed]
        with self._lock:
            self._is_filling = True
            self._list.options = rows or [("none yet", None)]
            self._is_filling = False

    def _say(self, message: str) -> None:
        self.message = message
        self._show()

    def _show(self) -> None:
        """Bring everything to what is known now."""
        run, going = self.run, self.is_going
        self._is_filling = True
        self._list.value = run if run in self._listed else None
        self._is_filling = False
        self._refused.value = _alert(self.refusal or self.message)
        told = run_views.estimate(self._expected, self.notebook.time)
        if self._found and not going:
            told = "computed already with these values, shown below"
        self._estimate.value = f"<b>Time:</b> {escape(told)}"
        self._start_button.disabled = bool(self.refusal) or not self.where.is_ready or going
        self._start_button.description = "Run again" if self._found and not going else "Run"
        self._cancel_button.disabled = not going or self._is_stopping
        ended = run is not None and not going
        self._resume_button.disabled = not (run and ended and run.status in run_views.AGAIN)
        self._use_button.disabled = not ended
        self._standing.value = self._status_line(run, going)
        self._bar.layout.display = "" if run else "none"
        self._bar.value = run_views.share_done(run) if run else 0.0
        self._bar.bar_style = _COLOURS.get(run.status, "") if run else ""
        workers = run_views.workers(run) if run and going else ""
        self._workers.value = _section("Workers", workers)
        self._results.value = _section("Results", run_views.results(run)) if run else ""
        links = run_views.links(run) if run else ""
        self._links.show(links, str(run))

    def _status_line(self, run: Run | None, going: bool) -> str:
        if run is None:
            text = "It starts …" if going else "Not run with these values yet."
        else:
            text = run_views.standing(run, self._expected)
        if going and self._is_stopping:
            text = f"It stops … {text}"
        role = "timer" if going else "status"  # a reader's voice does not count seconds
        return f'<div role="{role}" style="line-height: 1.3">{escape(text)}</div>'

    def _build(self) -> None:
        self._refused, self._estimate, self._standing = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self._workers, self._results, self._links = ipw.HTML(), ipw.HTML(), Links()
        self._bar = ipw.FloatProgress(max=1.0, tooltip="Cells done", layout={"width": "auto"})
        self._start_button = _button("Run", "Start the notebook in the background", "play", self.start)
        self._cancel_button = _button(
            "Cancel", "Stop it; what it has done is kept", "stop", self.cancel
        )
        again = "Start the run that is shown once more, with its values"
        self._resume_button = _button("Resume", again, "redo", self.resume)
        use = "Bring the controls to the values of the run that is shown"
        self._use_button = _button("Use its values", use, "sliders", self.use_values)
        self._start_button.button_style = "primary"
        self._list = ipw.Select(
            rows=5, description="Runs", tooltip="Last runs of this notebook", layout={"width": "auto"}
        )
        self._list.observe(self._choose, "value")
        self.widget = self._arranged()

    def _arranged(self) -> ipw.VBox:
        title = f"<b>{escape(self.notebook.name)}</b>: {escape(self.notebook.title)}"
        run = [self._start_button, self._cancel_button, self._resume_button, self._use_button]
        right = [
            self.where.widget,
            self._estimate,
            ipw.HBox(run),
            self._refused,
            self._standing,
            self._bar,
            self._workers,
            self._results,
            self._links,
            self._list,
            self._commands.widget,
        ]
        left = ipw.VBox([self.controls.widget], layout={"flex": "0 0 325px"})
        beside = ipw.VBox(right, layout={"flex": "1 1 auto", "min_width": "0"})
        both = ipw.HBox([left, beside], layout={"align_items": "flex-start", "width": "100%"})
        return ipw.VBox([ipw.HTML(title), both])


class FrontDoor:
    """A list of all notebooks, and the run panel of the one that is chosen.

    A panel is kept once it was shown, with what was typed into it and the run that it follows.

    Attributes:
        choice: The notebook's name.
        panels: Those that were shown, by name.
        widget: All of it; a front door at the end of a cell is shown.
    """

    def __init__(self, name: str = "pulsar/4_infer") -> None:
        """Show the panel of one notebook.

        Args:
            name: As `twins notebooks` lists it.

        Raises:
            UnknownNotebook: There is none of this name.
        """
        self.panels = {name: RunPanel(name)}
        names = sorted({name, *(each for each in runs.available() if "/" in each)})  # no start page
        self.choice = ipw.Dropdown(
            options=names, value=name, description="Notebook", layout={"width": "auto"}
        )
        self.choice.observe(lambda _: self._show(), "value")
        self._place = ipw.VBox()
        self.widget = ipw.VBox([self.choice, self._place])
        self._show()

    @property
    def panel(self) -> RunPanel:
        """That of the notebook that is chosen."""
        return self.panels[str(self.choice.value)]

    def _show(self) -> None:
        name = str(self.choice.value)
        if name not in self.panels:
            self.panels[name] = RunPanel(name)
        self._place.children = [self.panel.widget]

    def _ipython_display_(self) -> None:
        display(self.widget)


_COLOURS = {"complete": "success", "failed": "danger", "cancelled": "warning", "interrupted": "warning"}


def _section(heading: str, content: str) -> str:
    return f'<div style="line-height: 1.4"><b>{heading}</b><br>{content}</div>' if content else ""


def _alert(sentence: str) -> str:
    return f'<div role="alert">{in_red(sentence)}</div>' if sentence else ""


def _button(text: str, tooltip: str, icon: str, do: Any) -> ipw.Button:
    made = button(text, tooltip, icon)
    made.on_click(lambda _: do())
    return made
