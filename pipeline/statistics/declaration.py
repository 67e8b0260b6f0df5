"""What a comparison declares before it looks at the runs: `conf/comparison.yaml`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import rules
from pipeline.config.rules import CONF, Rule
from pipeline.statistics.figures import FIGURES

PREVIOUS, DEFAULT = "previous", "default"
OPTIMIZER, WIDTH, DEPTH, TRAIN_SIZE = "optimizer", "model.width", "model.depth", "dataset.train_size"
NETWORK = "model.name"
"""Names of factors; any other one is the dotted name of a value of conf/."""

NESTED = ("references", "margin", "target")
"""Keys whose values are `key: value` lines themselves."""

_PROPER_SHARE = rules.number(0, 1, over=True, under=True)
_LOSS = rules.number(0, 1000, over=True)

RULES: dict[str, Rule] = {
    "references.default": rules.choice((PREVIOUS, DEFAULT)),
    **{f"margin.{figure}": rules.number(0, 1000, over=True) for figure in FIGURES},
    "training_losses": Rule(
        lambda v: isinstance(v, list) and bool(v) and all(map(_LOSS.accepts, v)) and v == sorted({*v}, reverse=True),
        "a list of falling numbers over 0, such as [0.1, 0.01]",
    ),
    "target.val_accuracy": rules.number(0, 100, over=True),
    "alpha": rules.number(0, 0.5, over=True),
    "confidence": _PROPER_SHARE,
    "power": _PROPER_SHARE,
    "seeds_to_explore": rules.integer(2, 100_000),
    "seeds_to_confirm": rules.integer(2, 100_000),
    "permutations": rules.integer(99, 1_000_000),
    "random_seed": rules.integer(0, 2**32 - 1),
}
REFERENCE = Rule(lambda v: not isinstance(v, list | dict), f"a value, {PREVIOUS} or {DEFAULT}")


@dataclass(frozen=True)
class Declaration:
    """The values of `conf/comparison.yaml`. Sizes are in the unit of the figure itself: shares for accuracies, nats."""

    references: Mapping[str, Any]
    """What the values of a factor are held against: a value, `previous` or `default`; `default` for factors not named."""
    margin: Mapping[str, float]
    """By figure: what is equivalent, and what a mean difference must exceed for a claim."""
    training_losses: tuple[float, ...]
    """Nats, falling."""
    target: float
    """Validation accuracy to be reached."""
    alpha: float
    confidence: float
    power: float
    seeds_to_explore: int
    seeds_to_confirm: int
    permutations: int
    random_seed: int

    def reference(self, factor: str) -> Any:
        return self.references.get(factor, self.references[DEFAULT])

    def looks(self, seeds: int) -> int:
        """How many of so many seeds, the first ones, carry a claim: those to confirm or to explore; 0 if fewer."""
        return max((n for n in (self.seeds_to_explore, self.seeds_to_confirm) if n <= seeds), default=0)


def load(path: Path = CONF / "comparison.yaml") -> Declaration:
    """The declaration in `path`. Raises UserError, which names key and value, where it is not one."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        keys = dict.fromkeys(key.partition(".")[0] for key in RULES)
        raise UserError(f"{path}: expected key: value lines, {', '.join(keys)}")
    return declare(values)


def declare(values: Mapping[str, Any]) -> Declaration:
    """A Declaration from what the file says, accuracies in points. Raises UserError with everything that is wrong."""
    found = _problems(values)
    if found:
        raise UserError("; ".join(f"comparison: {line}" for line in found))
    changed = {
        "margin": {figure: float(values["margin"][figure]) / about.scale for figure, about in FIGURES.items()},
        "training_losses": tuple(map(float, values["training_losses"])),
        "target": values["target"]["val_accuracy"] / 100,
    }
    return Declaration(**{**values, **changed})


def _is_factor(name: str) -> bool:
    if name.startswith("model."):
        return name == NETWORK or any(name in rules.own_keys("model", model) for model in rules.options("model"))
    return name == OPTIMIZER or rules.rule_for(name) is not None


def _problems(values: Mapping[str, Any]) -> list[str]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = value if key in NESTED and isinstance(value, dict) else None
        flat |= {str(key): value} if nested is None else {f"{key}.{name}": inner for name, inner in nested.items()}
    found = [f"{key}: missing" for key in RULES if key not in flat]
    for key, value in flat.items():
        part, _, factor = key.partition(".")
        reference = part == "references" and _is_factor(factor)
        rule = RULES.get(key, REFERENCE if reference else None)
        if rule is None:
            found.append(f"{key}={rules.shown(value)}: no such key{nearest(key, RULES)}")
        elif line := rules.complaint(key, value, rule):
            found.append(line)
    if not found and flat["seeds_to_confirm"] < flat["seeds_to_explore"]:
        least = flat["seeds_to_explore"]
        found.append(f"seeds_to_confirm={flat['seeds_to_confirm']}: expected at least seeds_to_explore, {least}")
    return found
