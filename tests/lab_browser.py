"""A real JupyterLab of the tests' own in a real browser: started, opened, driven, ended."""

import functools
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
START_S = 90
_QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")

KERNEL_IS_IDLE = """() => {
  const notebook = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  const status = notebook?.sessionContext?.session?.kernel?.status;
  return status == "idle" && notebook.content?.widgets.length > 1;
}"""
# Bokeh draws into shadow roots.
PIXELS = """() => {
  const canvases = [];
  const look = (root) => {
    root.querySelectorAll("canvas").forEach((c) => canvases.push(c));
    root.querySelectorAll("*").forEach((e) => e.shadowRoot && look(e.shadowRoot));
  };
  look(document);
  return canvases.map((c) => {
    const context = c.getContext("2d");
    if (!context || !c.width || !c.height) return 0;
    return new Set(new Uint32Array(context.getImageData(0, 0, c.width, c.height).data.buffer)).size;
  });
}"""

# Of each figure, here and in figures' shadow roots: the most colours that one of its canvases shows.
COLOURS_OF_FIGURES = """() => {
  const figures = [];
  const look = (root, found) => root.querySelectorAll("*").forEach((e) => {
    const inside = e.classList.contains("bk-Figure") ? [] : found;
    if (inside !== found) figures.push(inside);
    if (e.tagName == "CANVAS") found?.push(e);
    if (e.shadowRoot) look(e.shadowRoot, inside);
  });
  look(document, null);
  return figures.map((canvases) => Math.max(0, ...canvases.map((c) => {
    const context = c.getContext("2d");
    if (!context || !c.width || !c.height) return 0;
    return new Set(new Uint32Array(context.getImageData(0, 0, c.width, c.height).data.buffer)).size;
  })));
}"""
# What of a panel is too small, covered, cut, or too far from the first slider to be seen with it.
_MISFITS = """(furthest_px) => {
  const found = [];
  const look = (root) => root.querySelectorAll("*").forEach((e) => {
    if (e.classList.contains("bk-Figure")) found.push(e.getBoundingClientRect());
    if (e.shadowRoot) look(e.shadowRoot);
  });
  const panel = [...document.querySelectorAll(".twin-panel")].at(-1);
  look(panel);
  const right = panel.parentElement.getBoundingClientRect().right + 1;
  const wrong = found.length ? [] : ["no figure"];
  found.forEach((a, i) => {
    if (a.width < 250 || a.height < 100) wrong.push(`figure ${i} of ${a.width} x ${a.height}`);
    if (a.right > right) wrong.push(`figure ${i} is cut`);
    found.slice(0, i).forEach((b, j) => {
      const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (x > 2 && y > 2) wrong.push(`figure ${i} covers figure ${j}`);
    });
  });
  panel.querySelectorAll("button, input, .noUi-target").forEach((e) => {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > right) wrong.push(`${e.className} ${e.textContent} is cut`);
  });
  const slider = panel.querySelector(".noUi-target").getBoundingClientRect();
  const [top, bottom] = [found[0]?.top, Math.min(found[0]?.bottom, found[0]?.top + 250)];
  const away = Math.max(bottom, slider.bottom) - Math.min(top, slider.top);
  if (away > furthest_px) wrong.push(`from slider to figure ${away} px`);
  return wrong;
}"""


def misfits(tab: Any, width: int, *, furthest_px: int = 750) -> list[str]:
    """Return what of the newest panel does not fit a window of this width, in words.

    Args:
        tab: With the panel; it stays as wide.
        width: In pixels of the page.
        furthest_px: How far the first slider and 250 pixels of the first figure may reach together.
    """
    height = tab.viewport_size["height"]
    tab.set_viewport_size({"width": width, "height": height})
    tab.wait_for_timeout(1000)
    return tab.evaluate(_MISFITS, furthest_px)


def requests_elsewhere(tab: Any) -> list[str]:
    """Return a list that grows by the address of whatever the tab asks another machine for."""
    found: list[str] = []

    def note(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("file", "data", "blob", "about") and parts.hostname != "127.0.0.1":
            found.append(request.url)

    tab.on("request", note)
    return found


def serious_findings(tab: Any, within: str | None = None) -> list[str]:
    """Return what axe finds on a page that is serious or critical: rule, impact, how many places.

    Args:
        tab: With the page.
        within: A selector of the part that is looked at; all of it by default.
    """
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab, context=within).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    return [f"{each['id']} ({each['impact']}): {len(each['nodes'])}" for each in serious]


def why_no_browser() -> str:
    """Return what is missing for a browser, "" for nothing."""
    if not any(map(shutil.which, _BROWSERS)):
        return "no browser here: apt-get install chromium"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is missing: pip install 'physics-twins[dev]'"
    return ""


@contextmanager
def running_browser() -> Iterator[Any]:
    """Yield a headless browser of playwright's."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, _BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Lab:
    """A JupyterLab on this machine alone, with a token, settings and workspaces of its own.

    Attributes:
        folder: What it shows.
        address: Where it answers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._token = secrets.token_hex()
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Lab":
        settings = self.folder / ".lab" / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(_QUIET))
        names = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        options = [
            *("--no-browser", "--expose-app-in-browser", "--allow-root"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self._port}"),
            *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.folder}"),
            f"--IdentityProvider.token={self._token}",
        ]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env={"PHYSICS_TWINS_RUNS": str(self.folder / "runs")}  # as `make lab` has it
            | os.environ
            | {name: str(self.folder / ".lab" / each) for name, each in names.items()},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > end:
                self.__exit__()
                raise TimeoutError(f"JupyterLab did not answer within {START_S} s")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(30)

    def add(self, name: str, *cells: str) -> None:
        """Write a notebook of these code cells."""
        made = [nbformat.v4.new_code_cell(source) for source in cells]
        notebook = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": KERNELSPEC})
        nbformat.write(notebook, self.folder / f"{name}.ipynb")

    def open(self, browser: Any, path: str, **view: float) -> Any:
        """Return a tab with a notebook; `view` as for `visit`.

        The tab has a workspace of its own: another's notebook would be opened again, and be in front.
        """
        workspace = path.replace("/", "-").removesuffix(".ipynb")
        return self.visit(browser, f"/lab/workspaces/{workspace}/tree/{path}", **view)

    def visit(
        self, browser: Any, where: str, *, width: float = 1440, height: float = 1200, scale: float = 1
    ) -> Any:
        """Return a tab at an address of this server; `errors` of it collects its errors.

        Its `dialogs` collects what windows have said that opened in front of all else.

        Args:
            browser: From `running_browser`.
            where: The address after the server's, such as `/lab`.
            width: Of the tab, in pixels of the page.
            height: Likewise.
            scale: Pixels of the screen for one of the page.
        """
        view = {"width": int(width), "height": int(height)}
        tab = browser.new_page(viewport=view, device_scale_factor=scale)
        tab.errors, tab.dialogs = [], []
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        # A dialog would swallow the commands that follow.
        accept = functools.partial(_accept, tab.dialogs)
        tab.add_locator_handler(tab.locator(".jp-Dialog"), accept, no_wait_after=True)
        tab.goto(f"{self.address}{where}?token={self._token}")
        return tab

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/api", timeout=2):  # noqa: S310
                return True
        except OSError:
            return False


def _accept(told: list[str], dialog: Any) -> None:
    with suppress(Exception):  # some go by themselves
        told.append(dialog.inner_text(timeout=1000))
        dialog.locator(".jp-mod-accept").click(timeout=5000)


def run_all_cells(tab: Any) -> None:
    """Begin to run all cells of the notebook in front, as soon as its kernel is there."""
    tab.wait_for_function(KERNEL_IS_IDLE, timeout=90_000)
    # Not awaited: the command's promise ends only when all cells have.
    tab.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
