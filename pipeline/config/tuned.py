"""Learning rates that come with the project: conf/tuned.yaml, as `${tuned:OPTIMIZER,WIDTH}` in a configuration."""

from __future__ import annotations

from functools import cache

import yaml

from pipeline.cli.errors import UserError
from pipeline.config.rules import CONF


@cache
def table() -> dict[str, dict[int, float]]:
    """Rates by optimizer and by width of the one hidden layer."""
    return dict(yaml.safe_load((CONF / "tuned.yaml").read_text(encoding="utf-8"))["rates"])


def rate(optimizer: str, width: int) -> float:
    """The tuned rate. Raises UserError if this optimizer has not been tuned at this width."""
    known = table().get(optimizer, {})
    if width not in known:
        there = "; ".join(f"{name}: {', '.join(map(str, widths))}" for name, widths in table().items())
        raise UserError(f"conf/tuned.yaml: no rate for {optimizer} at width {width}; it has {there}")
    return float(known[width])
