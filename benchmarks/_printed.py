"""Where the book prints what is kept in `results/`, and how new figures get there."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
RESULTS, BOOK = _ROOT / "benchmarks" / "results", _ROOT / "book"
_NUMBER = re.compile(r"(?<![\w.])[-\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
_SCALES = (1.0, 100.0, 1e3, 1e-3)  # a share may be printed in percent, a second in ms


@dataclass(frozen=True)
class Printed:
    """Where a record is printed: in the line of a page that holds some words.

    Attributes:
        words: Of the line.
        which: Which of its numbers are; all by default.
        with_errors: Whether their errors are, too.
        page: Where; by default the twin's own.
    """

    words: str
    which: tuple[int, ...] | None = None
    with_errors: bool = True
    page: str = ""


PRINTED = {
    "calorimeter": {
        "auc_boosted": Printed("boosted trees that tell the flow's showers from Geant4's"),
        "cell_spectrum": Printed("mean number of cells off Geant4's, by half decades"),
        "auc_boosted_50000": Printed("the same of 50,000 showers of each kind"),
        "auc_network": Printed("networks of CaloChallenge's size, 50,000"),
        "network_power": Printed("networks of CaloChallenge's size, 50,000"),
        "separation_total_layers": Printed("of layer energies, in thousandths"),
        "response_resolution": Printed("resolution (central 68 %), off Geant4's"),
        "onnx_parity": Printed("energy sum of the ONNX file off torch's"),
        "generation_memory_mb": Printed("weights of its five networks", None, False),
        "ensemble_coverage": Printed("68 % intervals of the ensemble cover"),
        "audit_false_alarm_showers": Printed("audits that reject a right twin"),
        "calibrate_scale_thickness": Printed("energy scale; thickness of the absorbers from 500"),
        "calibrate_rivals": Printed("the same by a ratio of means that believes"),
        "calibrate_s": Printed("calibration of 500 showers, one core"),
        "speed_up": Printed("times faster than Geant4 at 1, 3, 10", None, False),
        "farm_speedup": Printed("showers per second of two workers over one"),
        "geant4_cpu_s_10gev": Printed("Geant4 at 10 GeV, one core"),
        "drift_false_found": Printed("false alarms per 1,000 of 7,200 showers"),
        "drift_ratio": Printed("false alarms per 1,000 of 7,200 showers"),
        "closure": Printed("energy closure of Geant4's showers at 1, 10, 100 GeV"),
        "linearity": Printed("linearity of the response, 1 to 100 GeV"),
        "reference_10gev": Printed("(2.8 mm W + 0.5 mm Si), 10 GeV"),
        "generation_ms_b1_large": Printed("a shower of the flow on one core", (0, 2)),
        "onnx_ms": Printed("a shower of the ONNX file", (1,)),
        "judge_power": Printed("10 % of noise on every cell; 30 %", (1, 2)),
        "baseline_auc": Printed(
            "boosted trees that tell the flow's showers from Geant4's", None, False
        ),
    },
    "lattice": {
        "sun_2d": Printed("SU(2) in 2D at β = 2.2; SU(3) at 3, 6, 9"),
        "samples_per_s": Printed("fields per CPU second at 8", (0, 4, 8, 12, 1, 5, 9, 3, 7, 11)),
        "su3_4d_autocorrelation": Printed("autocorrelation times of plaquette and 2", (6, 7)),
        "su3_4d_plaquette": Printed("SU(3) in 4D at β = 6, 8⁴: plaquette"),
        "su3_4d_sweeps": Printed("sweeps of all links per CPU second", (0,)),
        "error_coverage": Printed("68 % intervals cover: 1,000 AR(1) chains"),
        "coarse_to_fine_16": Printed(
            "At 16² (`coarse_to_fine_16`", (0, 1, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18)
        ),
        "critical_coupling": Printed("critical coupling of φ⁴ in 2D", (0,)),
        "gauge_layers": Printed("splines were exact, and 0.175", (2, 3, 4, 5, 7, 8)),
        "calibration_coverage": Printed("couplings of 60 ensembles each, 8²"),
        "milc_l8888": Printed("numbers of MILC's", None, False),
        "corruptions_detected": Printed("files with one flipped bit", None, False),
        "monitor_calls": Printed("false alarms in 3,840 batches", (0, 1, 8)),
        "phi4_acceptance_ess": Printed(
            "φ⁴ on the line L = 4ξ, flows: acceptance", (0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11)
        ),
        "read_mb_per_s": Printed("reading and verifying, one core"),
        "training_seeds": Printed("three trainings at 8², seeds 1 to 3", (0, 2, 4, 1, 3, 5)),
        "u1_beta7": Printed("U(1), 16², β = 7, HMC with flux steps"),
        "u1_beta7_winding": Printed("the same of winding HMC, as published"),
        "u1_beta7_flow": Printed("the same of a flow from heat-kernel fields"),
        "gauge_flows": Printed("flows of gauge fields, effective sample size", (1, 5, 9, 6, 10)),
        "phi4_agreement": Printed("largest distance of the samplers' and flows'"),
        "what_if_coverage": Printed("what if λ were 2 % larger: intervals of"),
    },
    "panels": {
        "first_ten_minutes": Printed("by a script that reads nothing", page="environment"),
        "refused_ms": Printed("a bad value in the run panel", page="environment"),
        "first_figure_s": Printed("to its first painted figure", page="environment"),
        "panel_latency_ms": Printed("moves 250 ms apart, on a machine", page="environment"),
        "panel_latency_beside_ms": Printed("moves 1 s apart, on a machine", page="environment"),
        "panel_ready_s": Printed('painted after "run all cells"', page="environment"),
        "notebooks_executed": Printed("that were run for the book", None, False, page="environment"),
        "book_offline": Printed("the book without network", None, False, page="environment"),
    },
    "platform": {
        "resume_exact": Printed("trainings killed at random moments", (0,), False, "environment"),
        "model_tampering": Printed("tampered models accepted", None, False, "environment"),
        "sweep_faults": Printed("sweeps of 24 cells on SLURM", None, False, "environment"),
        "slurm_test_s": Printed("SLURM's daemons started", page="environment"),
        "cells_per_s": Printed("cells of 1 ms per second and core", page="environment"),
        "rerun_s": Printed("a finished sweep of 1,000 cells run again", page="environment"),
        "notebook_cells_per_s": Printed("notebooks as cells, per second", page="environment"),
    },
    "pulsar": {
        "recall_faint_rfi": Printed("pulses of S/N 6, 7 found at 1 % false alarms among"),
        "recall_faint_rfi_front_end": Printed("pulses of S/N 6, 7 found at 1 % false alarms among"),
        "recall_faint_rfi_drop": Printed("of what it finds in the noise alone", page="limits"),
        "macro_f1_unclear": Printed("nine labels, interference of any S/N"),
        "macro_f1_unclear_trees": Printed("Boosted trees do as well on the front end", page="limits"),
        "recall_strong_rfi": Printed("Where all of it is strong", page="limits"),
        "stream_kept_deleted_network": Printed("kept while a stream of the Effelsberg mix is labelled"),
        "calibrate_s_coverage": Printed("calibration of a set of frames"),
        "parameters_dm_width_coverage": Printed("their 68 % intervals cover", (2,)),
        "realism_held_out_auc": Printed("second half from look-alikes of its first"),
        "realism_judge_power": Printed("the same judge, look-alikes damaged"),
        "drift_false_found": Printed("frames until a change of scattering by 0.4 ms"),
        "stream_memory_mb": Printed("memory while streaming 400 s to a file"),
        "search_msamples_per_s": Printed("blind search, per CPU second of one core"),
        "label_msamples_per_s": Printed("labelling, file to table, every kept pulse", (0,)),
        "label_memory_mb": Printed("memory while labelling 1 GB"),
        "sim_msamples_per_cpu_s": Printed("simulation with all physics, 8 bit"),
        "parameters_within": Printed("pulses with S/N ≥ 10: DM within 1 pc"),
        "fit_over_limit": Printed("scatter of DM, width and scattering about the truth"),
        "real_files": Printed("period, found blindly", (2,)),
        "macro_f1": Printed("labels of eight classes, every component"),
        "recall_white_sn5_sn6_sn7": Printed("pulses of S/N 5, 6, 7 found in white noise"),
        "recall_rfi_drop": Printed("recall of them lost at 0.1 % false alarms"),
    },
    "foundation": {
        "frb_snr": Printed("S/N, DM and arrival of the real burst", page="pulsar"),
        "frb_dm": Printed("S/N, DM and arrival of the real burst", page="pulsar"),
        "frb_time_s": Printed("S/N, DM and arrival of the real burst", None, False, "pulsar"),
        "parkes_pulses": Printed("pulses claimed in a real file", None, False, "pulsar"),
        "injected_recall": Printed("injected pulses with ideal S/N", page="pulsar"),
        "injected_false": Printed("pulses invented in them", None, False, "pulsar"),
        "injected_dm_error": Printed("largest error of the DM of those pulses", page="pulsar"),
        "stream_memory_mb": Printed("peak memory while searching 4 GB", page="pulsar"),
        "bad_parameter_s": Printed("refusal of a wrong parameter", page="pulsar"),
        "run_overhead_s": Printed("over plain papermill", page="pulsar"),
        "injected_snr_ratio": Printed("over that of the ideal matched filter", page="pulsar"),
    },
    "virgo": {
        "fdr_channels": Printed("channels of the hard set, all coupled strongly"),
        "network_match": Printed("| live |"),
        "network_losers": Printed("| live |"),
        "held_match": Printed("| held |"),
        "stream_latency_ms": Printed("a second with 20 channels into a cleaned one"),
        "held_losers": Printed("| held |"),
        "unsafe_channels": Printed("channels that carry strain: found of two", None, False),
        "reconstruction_mismatch": Printed("Of 34 witnessed glitches of the simulator"),
        "network_range_hard": Printed("range of the mean spectrum (lowest: 0.951", (0, 2, 3)),
        "network_worst_hard": Printed("worst band, mean (lowest: 0.951", (0, 2, 3)),
        "network_median_hard": Printed("| median band |", (0, 2, 3)),
        "band_made_worse_hard": Printed("largest change of a band's power, hard set"),
        "network_rise_hard": Printed("largest change of a band's power, hard set"),
        "never_worse": Printed("seconds made louder by more than 5 %", None, False),
        "network_never_worse": Printed("seconds made louder by more than 5 %", None, False),
        "network_worst_easy": Printed("worst band, mean (lowest: 0.930", (0, 2, 3)),
        "network_range_easy": Printed("range of the mean spectrum, easy set", (0, 2, 3)),
        "band_made_worse_easy": Printed("largest change of a band's power, easy set"),
        "network_rise_easy": Printed("largest change of a band's power, easy set"),
        "veto_efficiency": Printed("of the 93 witnessed glitches"),
        "veto_unwitnessed": Printed("of the 93 witnessed glitches"),
        "veto_deadtime": Printed("of the 93 witnessed glitches"),
        "veto_energy_inside": Printed("The segments are short"),
    },
}


def page_of(twin: str, record: Mapping[str, Any]) -> Path:
    """Return the page that prints a record."""
    return BOOK / f"{PRINTED[twin][record['id']].page or twin}.md"


def line_of(twin: str, record: Mapping[str, Any]) -> str:
    """Return the line that prints a record."""
    words = PRINTED[twin][record["id"]].words
    lines = page_of(twin, record).read_text(encoding="utf-8").splitlines()
    (found,) = (line for line in lines if words in line)
    return found


def printed_numbers(twin: str, record: Mapping[str, Any]) -> list[float]:
    """Return those numbers of a record that are printed, each followed by its error."""
    place = PRINTED[twin][record["id"]]
    values, errors = _listed(record["value"]), _listed(record["error"])
    found = []
    for n in range(len(values)) if place.which is None else place.which:
        found.append(values[n])
        if place.with_errors and errors and errors[n]:
            found.append(errors[n])
    return found


def missing(numbers: list[float], line: str) -> list[float]:
    """Return the numbers that a line does not have, rounded as its numbers are, in some unit.

    >>> missing([0.864, 0.012], "| 86.4 ± 1.2 % |"), missing([0.864, 0.9], "1 of 0.86; 0.009 ± 0.001")
    ([], [0.9])
    """
    places = _places(numbers, [text[0] for text in _NUMBER.finditer(line)])
    return [number for n, number in enumerate(numbers) if n not in places]


def rewritten(line: str, old: list[float], new: list[float]) -> str:
    """Return a line in which new numbers stand for old ones, in the units and digits that it has.

    Each old number is looked for where it stands with most digits; of those that look alike the first
    in the line is the first of the list.

    >>> rewritten("| of 1 GeV | **0.626 ± 0.013**; 0.5 |", [0.6261, 0.0126], [0.6049, 0.0118])
    '| of 1 GeV | **0.605 ± 0.012**; 0.5 |'
    """
    texts = list(_NUMBER.finditer(line))
    places = _places(old, [text[0] for text in texts])
    written = {k: _as_written(scale * new[n], texts[k][0]) for n, (k, scale) in places.items()}
    for k in sorted(written, reverse=True):
        line = line[: texts[k].start()] + written[k] + line[texts[k].end() :]
    return line


def write_anew(twin: str, known: Iterable[Mapping[str, Any]], record: Mapping[str, Any]) -> str:
    """Write a new record into the line that prints the known one; return what is to do by hand."""
    old = next((each for each in known if each["id"] == record["id"]), None)
    if old is None or record["id"] not in PRINTED.get(twin, {}):
        return f"{record['id']}: no line of the book prints it yet"
    before, page = line_of(twin, record), page_of(twin, record)
    numbers = printed_numbers(twin, old), printed_numbers(twin, record)
    # A line that does not print the old numbers was edited: others that look like them are none.
    same_form = len(numbers[0]) == len(numbers[1]) and not missing(numbers[0], before)
    after = rewritten(before, *numbers) if same_form else before
    page.write_text(page.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    left = missing(numbers[1], after)
    return f"{record['id']}: write {left} into {page.name} by hand" if left else ""


def _places(numbers: list[float], texts: list[str]) -> dict[int, tuple[int, float]]:
    """Return for each number that is found which text it is, and in which unit; no text is two."""
    found: dict[int, tuple[int, float]] = {}
    free = dict(enumerate(texts))
    for scale in _SCALES:
        for n in [n for n in range(len(numbers)) if n not in found]:
            fits = [k for k, text in free.items() if _is_written(numbers[n], text, scale)]
            if fits:
                k = max(fits, key=lambda k: (_digits(_plain(texts[k])), -k))
                found[n] = k, scale
                del free[k]
    return found


def _is_written(value: float, text: str, scale: float = 1.0) -> bool:
    """Return whether a text is a number, rounded.

    Rounded by half of itself or more it could be any.

    >>> _is_written(0.864, "0.86"), _is_written(0.864, "1"), _is_written(0.0, "0")
    (True, False, True)
    >>> _is_written(0.864, "86", scale=100.0)
    True
    """
    plain = _plain(text)
    half = 0.5001 * 10.0 ** (_power(plain) - _digits(plain))
    off = abs(float(plain) - scale * value)
    return off == 0 or off <= half <= abs(scale * value) / 2


def _plain(text: str) -> str:
    return text.replace(",", "").replace("\u2212", "-")


def _as_written(value: float, text: str) -> str:
    plain = _plain(text)
    power, digits = _power(plain), _digits(plain)
    written = f"{value / 10.0**power:{',' if ',' in text else ''}.{digits}f}"
    written += f"e{power}" if "e" in plain else ""
    return written.replace("-", "\u2212", 1) if "\u2212" in text or value < 0 else written


def _power(plain: str) -> int:
    return int(plain.partition("e")[2] or 0)


def _digits(plain: str) -> int:
    return len(plain.partition("e")[0].partition(".")[2])


def _listed(value: float | list[float] | None) -> list[float]:
    return [] if value is None else value if isinstance(value, list) else [value]
