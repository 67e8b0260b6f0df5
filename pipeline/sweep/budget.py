"""What a tuning may spend on each optimizer: conf/tune.yaml, with the words of the command line in place of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import rules
from pipeline.config.compose import ConfigurationError
from pipeline.config.rules import Rule


def _are_decades(text: str) -> bool:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        return False
    return found == sorted({*found}) and 0 in found[1:-1] and max(map(abs, found)) <= 6


RULES: dict[str, Rule] = {
    "decades": Rule(_are_decades, "three or more numbers from -6 to 6 in rising order with 0 inside, such as -1,0,1"),
    "step": rules.number(0, 6, over=True),
    "rates": rules.integer(3, 30),
    "choosing_seeds": rules.integer(2, 1000),
    "final_seeds": rules.integer(2, 1000),
}


@dataclass(frozen=True)
class Budget:
    """The same for every optimizer."""

    optimizers: tuple[str, ...]
    decades: tuple[float, ...]
    step: float
    rates: int
    choosing_seeds: int
    final_seeds: int

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Budget:
        """Raises ConfigurationError with everything that is wrong."""
        values: dict[str, Any] = {key: texts[key] if key == "decades" else rules.plain(texts[key]) for key in RULES}
        names = tuple(dict.fromkeys(texts["optimizers"].split(",")))
        known = rules.choice(rules.options("optimizer"))
        complaints = [rules.complaint(key, value, RULES[key]) for key, value in values.items()]
        complaints += [rules.complaint("optimizers", name, known) for name in names]
        if problems := [line for line in complaints if line]:
            raise ConfigurationError(problems)
        decades = tuple(float(word) for word in values["decades"].split(","))
        return cls(optimizers=names, **values | {"decades": decades, "rates": max(values["rates"], len(decades))})

    @property
    def final(self) -> range:
        return range(self.final_seeds)

    @property
    def choosing(self) -> range:
        """Other seeds than the final ones."""
        return range(self.final_seeds, self.final_seeds + self.choosing_seeds)
