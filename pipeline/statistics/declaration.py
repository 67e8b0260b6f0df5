"""What a comparison declares before it looks at results: `conf/comparison.yaml`, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import yaml
from annotated_types import Ge, Gt, Le, Lt, Predicate

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.rules import CONF, Rule
from pipeline.config.values import Words
from pipeline.statistics.metrics import METRICS

PREVIOUS, DEFAULT = "previous", "default"
OPTIMIZER, WIDTH, DEPTH, TRAIN_SIZE = "optimizer", "model.width", "model.depth", "dataset.train_size"
NETWORK = "model.name"
"""Names of factors; all others are dotted names of values in conf/."""

Amount = Annotated[float, Gt(0), Le(1000)]
Seeds = Annotated[int, Ge(2), Le(100_000)]


@dataclass(frozen=True)
class Declaration:
    """The values of `conf/comparison.yaml`, in the unit of the metric: shares for accuracies, nats for losses."""

    references: Mapping[str, Any]
    """The reference of each factor: a value, `previous` or `default`; `default` for other factors."""
    margin: Mapping[str, float]
    """Margins by metric: of equivalence, and of the mean difference that a claim must exceed."""
    training_losses: Annotated[
        tuple[Amount, ...],
        Predicate(lambda losses: bool(losses) and list(losses) == sorted({*losses}, reverse=True)),
        Words("a list of falling numbers over 0, such as [0.1, 0.01]"),
    ]
    """Training losses in nats."""
    alpha: Annotated[float, Gt(0), Le(0.5)]
    power: Annotated[float, Gt(0), Lt(1)]
    seeds_to_explore: Seeds
    seeds_to_confirm: Seeds
    permutations: Annotated[int, Ge(99), Le(1_000_000)]
    random_seed: Annotated[int, Ge(0), Le(2**32 - 1)]

    def reference(self, factor: str) -> Any:
        return self.references.get(factor, self.references[DEFAULT])

    def looks(self, seeds: int) -> int:
        """Return how many of these seeds carry a claim: the number to confirm or to explore, or 0."""
        return max((n for n in (self.seeds_to_explore, self.seeds_to_confirm) if n <= seeds), default=0)


RULES: dict[str, Rule] = {
    "references.default": rules.choice((PREVIOUS, DEFAULT)),
    **{f"margin.{metric}": rules.rule(Amount) for metric in METRICS},
    **{
        name: rules.rule(hint)
        for name, hint in get_type_hints(Declaration, include_extras=True).items()
        if name not in ("references", "margin")
    },
}
REFERENCE = Rule(lambda v: not isinstance(v, list | dict), f"a value, {PREVIOUS} or {DEFAULT}")


def load(path: Path = CONF / "comparison.yaml") -> Declaration:
    """Read the declaration in `path`. Raises UserError with key and value if it is invalid."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        keys = dict.fromkeys(key.partition(".")[0] for key in RULES)
        raise UserError(f"{path}: expected key: value lines, {', '.join(keys)}")
    return declare(values)


def declare(values: Mapping[str, Any]) -> Declaration:
    """Return a Declaration from the values of the file, accuracies in points. Raises UserError with all problems."""
    found = _problems(values)
    if found:
        raise UserError("; ".join(f"comparison: {line}" for line in found))
    changed = {
        "margin": {metric: float(values["margin"][metric]) / about.scale for metric, about in METRICS.items()},
        "training_losses": tuple(map(float, values["training_losses"])),
    }
    return Declaration(**{**values, **changed})


def _is_factor(name: str) -> bool:
    if name.startswith("model."):
        return name == NETWORK or any(name in rules.own_keys("model", model) for model in rules.options("model"))
    return name == OPTIMIZER or rules.rule_for(name) is not None


def _problems(values: Mapping[str, Any]) -> list[str]:
    flat = rules.flattened(values)
    factors = (key for key in flat if key.startswith("references.") and _is_factor(key.partition(".")[2]))
    found = rules.problems(flat, dict.fromkeys(factors, REFERENCE) | RULES, RULES)
    if not found and flat["seeds_to_confirm"] < flat["seeds_to_explore"]:
        least = flat["seeds_to_explore"]
        found.append(f"seeds_to_confirm={flat['seeds_to_confirm']}: expected at least seeds_to_explore, {least}")
    return found
