"""A model's card: text for people, with the header that the Hugging Face hub reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from physics_twins.data import in_words
from physics_twins.models.folder import Metric, ModelError


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
        tags: Words to find it by.
    """

    summary: str
    data: str
    limits: str
    held_against: str = ""
    reproduce: str = ""
    data_name: str = "simulated"
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("summary", "data", "limits"):
            if not getattr(self, name).strip():
                raise ModelError(f"the model card's {name} is empty: nobody could judge the model")


def render(card: Card, facts: Mapping[str, Any], metrics: Mapping[str, Metric]) -> str:
    """Return the card as Markdown with a YAML header.

    Args:
        card: What only its author knows.
        facts: What the manifest says, see `folder.Manifest`.
        metrics: Results, the most telling one first.
    """
    import yaml

    values = [{"type": n, "name": n.replace("_", " "), "value": m.value} for n, m in metrics.items()]
    result = {
        "task": {"type": "other"},
        "dataset": {"type": card.data_name, "name": card.data_name},
        "metrics": values,
    }
    header = {
        "license": "bsd-3-clause",
        "library_name": "physics-twins",
        "tags": list(dict.fromkeys(["physics", "digital-twin", "safetensors", *card.tags])),
        "model-index": [{"name": facts["name"], "results": [result]}],
    }
    call = (
        f'`models.find("{facts["name"]}").load_into(module)` fills a module built from `config.json`.'
    )
    kept = ("parameters", "seed", "code", "inputs", "onnx")
    origin = json.dumps({name: facts[name] for name in kept}, indent=2)
    sections = {
        "What it is": [card.summary],
        "Data": [card.data],
        "Metrics": [_table(metrics), card.held_against],
        "Limits": [card.limits],
        "How to use it": [call],
        "How to reproduce it": [card.reproduce, f"```json\n{origin}\n```"],
    }
    parts = [f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"]
    parts.append(f"# {facts['name']}")
    for title, texts in sections.items():
        parts += [f"## {title}", *filter(None, map(str.strip, texts))]
    return "\n\n".join(parts) + "\n"


def _table(metrics: Mapping[str, Metric]) -> str:
    rows = ["| metric | value | limit | baseline |", "| --- | --- | --- | --- |"]
    for name, metric in metrics.items():
        against = (metric.limit, metric.baseline)
        shown = ("" if n is None else in_words({"value": n, "unit": metric.unit}) for n in against)
        rows.append("| " + " | ".join((name, in_words(metric.model_dump()), *shown)) + " |")
    return "\n".join(rows)
