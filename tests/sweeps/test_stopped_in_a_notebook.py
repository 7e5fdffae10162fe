"""A sweep that is interrupted in a notebook says in one line how it goes on."""

import os
import time

import pytest
from jupyter_client.manager import start_new_kernel
from sources import TESTS

N_CELLS = 16
SWEEP = f"""from physics_twins import sweeps

cells = [{{{{"number": n}}}} for n in range({N_CELLS})]
sweep = sweeps.run("short_cells:square_slowly", cells, on="{{on}}", out="{{folder}}", progress=False)
sweep.counts"""


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A kernel that finds what is swept, as that of a notebook."""
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    manager, client = start_new_kernel(cwd=str(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def shown(client, message):
    """Until a cell has ended, what it shows: of each output its kind and content."""
    found = []
    while True:
        each = client.get_iopub_msg(timeout=60)
        if each["parent_header"].get("msg_id") != message:
            continue
        if each["msg_type"] == "status" and each["content"]["execution_state"] == "idle":
            return found
        if each["msg_type"] in ("error", "stream", "execute_result"):
            found.append((each["msg_type"], each["content"]))


@pytest.mark.slow
@pytest.mark.parametrize("on", ["threads", "local"])
def test_an_interrupted_sweep_says_in_one_line_that_running_it_again_goes_on(kernel, tmp_path, on):
    manager, client = kernel
    folder = tmp_path / "sweep"

    source = SWEEP.format(on=on, folder=folder)

    begun = client.execute(source)
    end = time.monotonic() + 60
    while not list((folder / "records").glob("*")):
        assert time.monotonic() < end
        time.sleep(0.05)
    manager.interrupt_kernel()
    ((kind, content),) = shown(client, begun)
    told = f"Stopped. Run it again to go on: what is complete is kept in {folder}"
    assert (kind, content["traceback"]) == ("error", [told])

    ((kind, content),) = shown(client, client.execute(source))
    assert content["data"]["text/plain"].startswith(f"{{'complete': {N_CELLS}")
