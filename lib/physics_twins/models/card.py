"""A model's card: text for people, with the header that the Hugging Face hub reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from physics_twins.data import in_words
from physics_twins.models.manifest import Metric, ModelError


@dataclass(frozen=True)
class Card:
    """What a reader must know before using a model, in Markdown.

    Attributes:
        summary: What it is and what it is for.
        data: What it was trained and evaluated on.
        limits: Where it must not be used, and what it loses to.
        held_against: What the limit and the baseline in the table of metrics are.
        reproduce: How to train it again, beyond the recorded parameters, seed and code.
        data_name: Short name of the data.
        task: The hub's word for the task, as in `image-classification`.
        license: The hub's word for the licence.
        tags: Words to find it by.
    """

    summary: str
    data: str
    limits: str
    held_against: str = ""
    reproduce: str = ""
    data_name: str = "simulated"
    task: str = "other"
    license: str = "bsd-3-clause"
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("summary", "data", "limits"):
            if not getattr(self, name).strip():
                raise ModelError(
                    f"the model card's {name} is empty: a model without it cannot be judged"
                )


def render(
    name: str,
    card: Card,
    metrics: Mapping[str, Metric],
    *,
    parameters: Mapping[str, Any],
    seed: int | None,
    code: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]] = (),
    onnx: Mapping[str, Any] | None = None,
) -> str:
    """Return the card as Markdown with a YAML header.

    Args:
        name: The model's name.
        card: What only its author knows.
        metrics: Results, the most telling one first.
        parameters: Parameters of its training.
        seed: Seed of its training.
        code: As from `runs.describe_code`.
        inputs: Input files, each with `name` and `sha256`.
        onnx: What the comparison of the exported file with torch gave.
    """
    sections = {
        "What it is": card.summary,
        "Data": "\n\n".join([card.data, *_inputs(inputs)]),
        "Metrics": "\n\n".join(filter(None, [_table(metrics), card.held_against])),
        "Limits": card.limits,
        "How to use it": _use(name, onnx),
        "How to reproduce it": _reproduction(card, parameters, seed, code),
    }
    body = "\n".join(f"## {title}\n\n{text.strip()}\n" for title, text in sections.items())
    return f"---\n{_header(name, card, metrics)}---\n\n# {name}\n\n{body}"


def _header(name: str, card: Card, metrics: Mapping[str, Metric]) -> str:
    import yaml

    values = [{"type": n, "name": n.replace("_", " "), "value": m.value} for n, m in metrics.items()]
    result = {
        "task": {"type": card.task},
        "dataset": {"type": card.data_name, "name": card.data_name},
        "metrics": values,
    }
    header = {
        "license": card.license,
        "library_name": "physics-twins",
        "tags": list(dict.fromkeys(["physics", "digital-twin", "safetensors", *card.tags])),
        "model-index": [{"name": name, "results": [result]}],
    }
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)


def _table(metrics: Mapping[str, Metric]) -> str:
    if not metrics:
        return "None were recorded."
    rows = [("metric", "value", "limit", "baseline"), ("---",) * 4]
    for name, metric in metrics.items():
        against = (metric.limit, metric.baseline)
        shown = ("" if n is None else in_words({"value": n, "unit": metric.unit}) for n in against)
        rows.append((name, in_words(metric.model_dump()), *shown))
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    return (
        ["\n".join(f"- `{item['name']}`, SHA-256 `{item['sha256']}`" for item in inputs)]
        if inputs
        else []
    )


def _use(name: str, onnx: Mapping[str, Any] | None) -> str:
    lines = [
        "```python",
        "from physics_twins import models",
        "",
        f'model = models.find("{name}")',
        "module = ...  # built from model.config",
        "model.load_into(module)",
        "```",
    ]
    if onnx:
        compared = onnx.get("compared", "largest output")
        lines += [
            "",
            f"`model.onnx` gives the same as torch within {onnx['largest_deviation']:.1e} of the "
            f"{compared}, over {onnx['n_inputs']} random inputs in batches of "
            f"{', '.join(map(str, onnx['batch_sizes']))}.",
        ]
    return "\n".join(lines)


def _reproduction(
    card: Card, parameters: Mapping[str, Any], seed: int | None, code: Mapping[str, Any]
) -> str:
    commit = code.get("git_commit")
    state = f", commit `{commit}`{' with changes' if code.get('git_dirty') else ''}" if commit else ""
    facts = f"physics-twins {code.get('version')}{state}, seed {seed}, with these parameters:"
    shown = json.dumps(dict(parameters), indent=2)
    return "\n\n".join(filter(None, [card.reproduce.strip(), facts, f"```json\n{shown}\n```"]))
