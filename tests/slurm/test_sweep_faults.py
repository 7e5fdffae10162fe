"""A sweep on a real SLURM loses nothing and doubles nothing, whoever is killed."""

import pytest
import sweep_faults


@pytest.mark.slow
def test_a_cancelled_job_and_a_killed_driver_leave_the_sweep_as_if_nothing_had_happened(
    slurm, tmp_path
):
    quiet = sweep_faults.quiet_sweep(tmp_path / "quiet")
    troubled = sweep_faults.troubled_sweep(slurm, tmp_path / "troubled", seed=1)
    assert sweep_faults.faults(quiet, troubled) == []
    slurm.wait_until_empty(30)


def test_the_check_of_faults_sees_a_cell_that_was_computed_again_and_another_dataset(tmp_path):
    quiet = sweep_faults.quiet_sweep(tmp_path / "quiet")
    other = sweep_faults.quiet_sweep(tmp_path / "other", seeds=[5, 6, 7, 8])
    notes = [{"point": list(point.values()), "time": 0.0} for point in other.plan["points"]]
    late = {"point": notes[3]["point"], "time": other.records[3]["finished"] + 1}
    lines = map(sweep_faults.json.dumps, [*notes, late])
    other.folder.with_suffix(".starts").write_text("\n".join(lines))
    assert sweep_faults.faults(quiet, other) == [
        f"computed again after they were complete: {[tuple(late['point'])]}",
        "the combined dataset differs from that of the quiet sweep",
    ]
