"""The runs of a search: what each trial's values mean, and what all trials have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import compose, rules
from pipeline.config.compose import ConfigurationError
from pipeline.sweep.plan import PlannedRun, make_plan
from pipeline.sweep.search_settings import OBJECTIVES, SearchSettings
from pipeline.sweep.search_space import Space, Value, first

QUESTION = "search"
MEASURED = ("val/accuracy", "val/loss")
"""Figures of the validation split that need no `training.metrics`."""


class SearchRuns:
    """Plans the run of each trial."""

    def __init__(self, settings: SearchSettings, space: Space) -> None:
        """Raises UserError if the configuration cannot be searched."""
        self.settings, self.space = settings, space
        self._fixed = [f"question={QUESTION}", *space.fixed, f"seed={settings.seed}"]
        self._configs: dict[tuple[str, ...], DictConfig] = {}
        at_first = {key: first(each) for key, each in space.distributions.items()}
        self.values = self._values(self._words(at_first))
        """The configuration at the first value of each range: what it says beside them holds for all trials."""
        self._check()
        self.base = self.run(at_first)

    def run(self, values: Mapping[str, Value]) -> PlannedRun:
        """The run of a trial with these values. Raises ConfigurationError if they cannot be together."""
        words = self._words(values)
        [run] = make_plan([self._values(words)], [[*self._fixed, *words]])
        return run

    def declaration(self) -> dict[str, str]:
        """All that decides the trials but their number, by key."""
        swept = tuple(f"{key}." if key in rules.GROUPS else key for key in self.space.distributions)
        flat = {key: rules.shown(value) for key, value in self.base.job.flat().items() if not key.startswith(swept)}
        ranges = {key: text.replace(" ", "") for key, _, text in (word.partition("=") for word in self.space.words)}
        own = {name: str(getattr(self.settings, name)) for name in ("sampler", "pruner", "seed")}
        own["objectives"] = ",".join(each.name for each in self.settings.objectives)
        made_of = self.base.identity
        own |= {"code": made_of["source"][:12], "data": made_of["data"][:12], "numerics": str(made_of["numerics"])}
        return flat | ranges | own

    def _check(self) -> None:
        if not self.values["dataset"]["validation_size"]:
            raise UserError("dataset.validation_size=0: expected over 0; a search looks at the validation split only")
        if self.values["force"]:
            raise UserError("force=true: a search trains no run twice; name=… begins another one")
        measured = [*MEASURED, *(f"val/{name.rpartition('.')[2]}" for name in self.values["training"]["metrics"])]
        for name in (each.name for each in self.settings.objectives):
            if name.startswith("val/") and name not in measured:
                metric, near = name.removeprefix("val/"), nearest(name, [*OBJECTIVES])
                raise UserError(f"objectives={name}: needs training.metrics=[{metric}]{near}")

    def _words(self, values: Mapping[str, Value]) -> list[str]:
        """A trial's values as words of `python -m pipeline.train`, without those that its optimizer or network has not got."""
        words = [f"{key}={rules.shown(value)}" for key, value in values.items()]
        config = self._config([word for word in words if _key(word) in rules.GROUPS])
        return [word for word in words if _key(word) in rules.GROUPS or _has(config, _key(word))]

    def _config(self, groups: Sequence[str]) -> DictConfig:
        """The configuration with these choices; composed once, as that takes 0.2 s."""
        if (chosen := tuple(groups)) not in self._configs:
            try:
                [self._configs[chosen]] = compose.configs([[*self._fixed, *chosen]])
            except HydraException as error:
                raise ConfigurationError([f"{' '.join(chosen)}: {str(error).splitlines()[0]}"]) from error
        return self._configs[chosen]

    def _values(self, words: Sequence[str]) -> dict[str, Any]:
        parser = OverridesParser.create()
        single = [parser.parse_override(word) for word in words if _key(word) not in rules.GROUPS]
        config = self._config([word for word in words if _key(word) in rules.GROUPS])
        return compose.changed(config, {each.key_or_group: each.value() for each in single})


def _key(word: str) -> str:
    return word.partition("=")[0]


def _has(config: DictConfig, key: str) -> bool:
    section, _, name = key.rpartition(".")
    return name in (OmegaConf.select(config, section) if section else config)
