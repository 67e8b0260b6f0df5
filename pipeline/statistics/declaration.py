"""What a comparison declares before it looks at the runs: `conf/comparison.yaml`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import rules
from pipeline.config.rules import CONF, Rule
from pipeline.statistics.figures import FIGURES

OPTIMIZERS = "each optimizer against the best at equal width"
WIDTHS = "each width against the next"
PAIRED_T, SIGN_FLIP = "paired t", "sign flip"
SIZES = ("margin", "minimum_effect", "effect_to_find")
"""Keys with a size for each figure."""


def _each_once(value: Any) -> bool:
    return isinstance(value, list) and set(map(str, value)) <= {OPTIMIZERS, WIDTHS} and len(set(value)) == len(value)


_SIZE = rules.number(0, 1000, over=True)
_PROPER_SHARE = rules.number(0, 1, over=True, under=True)

RULES: dict[str, Rule] = {
    "contrasts": Rule(_each_once, f"a list of these, each once: {OPTIMIZERS}; {WIDTHS}"),
    **{f"{part}.{figure}": _SIZE for part in SIZES for figure in FIGURES},
    "claim_test": rules.choice((PAIRED_T, SIGN_FLIP)),
    "alpha": rules.number(0, 0.5, over=True),
    "confidence": _PROPER_SHARE,
    "power": _PROPER_SHARE,
    "seeds_to_explore": rules.integer(2, 100_000),
    "seeds_to_confirm": rules.integer(2, 100_000),
    "training_loss_threshold": rules.number(0, 1000, over=True),
    "permutations": rules.integer(99, 1_000_000),
    "bootstrap_repetitions": rules.integer(99, 1_000_000),
    "random_seed": rules.integer(0, 2**32 - 1),
}


@dataclass(frozen=True)
class Declaration:
    """The values of `conf/comparison.yaml`. Sizes are in the unit of the figure itself: shares for accuracies, nats."""

    contrasts: tuple[str, ...]
    margin: Mapping[str, float]
    """Equivalence margin by figure."""
    minimum_effect: Mapping[str, float]
    """What a mean difference must exceed for a claim, by figure."""
    effect_to_find: Mapping[str, float]
    """The true difference that seeds are counted for, by figure: over the minimum."""
    claim_test: str
    alpha: float
    confidence: float
    power: float
    seeds_to_explore: int
    seeds_to_confirm: int
    training_loss_threshold: float
    permutations: int
    bootstrap_repetitions: int
    random_seed: int


def load(path: Path = CONF / "comparison.yaml") -> Declaration:
    """The declaration in `path`. Raises UserError, which names key and value, where it is not one."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected key: value lines, {', '.join(_names())}")
    return declare(values)


def declare(values: Mapping[str, Any]) -> Declaration:
    """A Declaration from what the file says, accuracies in points. Raises UserError with everything that is wrong."""
    found = _problems(values)
    if found:
        raise UserError("; ".join(f"comparison: {line}" for line in found))
    sizes = {
        part: {figure: float(values[part][figure]) / about.scale for figure, about in FIGURES.items()} for part in SIZES
    }
    return Declaration(**{**values, **sizes, "contrasts": tuple(values["contrasts"])})


def _names() -> list[str]:
    return [field.name for field in fields(Declaration)]


def _problems(values: Mapping[str, Any]) -> list[str]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in SIZES and isinstance(value, dict):
            flat |= {f"{key}.{figure}": size for figure, size in value.items()}
        else:
            flat[str(key)] = value
    found = [f"{key}: missing" for key in RULES if key not in flat]
    for key, value in flat.items():
        if key not in RULES:
            found.append(f"{key}={rules.shown(value)}: no such key{nearest(key, RULES)}")
        elif line := rules.complaint(key, value, RULES[key]):
            found.append(line)
    if found:
        return found
    for figure in FIGURES:
        least = flat[f"margin.{figure}"]
        if flat[f"minimum_effect.{figure}"] < least:
            # A difference could be claimed and equivalent at once.
            size = flat[f"minimum_effect.{figure}"]
            found.append(f"minimum_effect.{figure}={size}: expected at least margin.{figure}, {least}")
        effect, minimum = flat[f"effect_to_find.{figure}"], flat[f"minimum_effect.{figure}"]
        if effect <= minimum:
            # Of a true difference of the minimum half of all means are below it, with any number of seeds.
            found.append(f"effect_to_find.{figure}={effect}: expected more than minimum_effect.{figure}, {minimum}")
    if flat["seeds_to_confirm"] < flat["seeds_to_explore"]:
        least = flat["seeds_to_explore"]
        found.append(f"seeds_to_confirm={flat['seeds_to_confirm']}: expected at least seeds_to_explore, {least}")
    return found
