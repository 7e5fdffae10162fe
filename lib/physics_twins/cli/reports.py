"""The report with which the commands `twins sweep` and `twins tune` end."""

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physics_twins.sweeps import Sweep
    from physics_twins.sweeps.tuning import Study

SWEEP, STUDY = "farms/1_sweep", "farms/2_tune"


def write_report(found: "Sweep | Study", notebook: str, parameter: str) -> None:
    """Run a report's notebook into a folder, in place of the report there, where something is new.

    A report that fails is told of, and leaves what was computed as it is.

    Args:
        found: What was computed.
        notebook: `SWEEP` or `STUDY`.
        parameter: The notebook's parameter that takes the folder.
    """
    from physics_twins import runs

    if found.report and not found.computed:
        return
    folder = found.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)
    run = runs.run(notebook, {parameter: str(found.folder)}, out=folder, force=True)
    if run.status != "complete":
        record = run.provenance
        told = f"the report in {folder} failed in cell {record['cell']}: {record['error']}"
        print(f"twins: {told}", file=sys.stderr)
