"""Learning rates that come with the project, in a sweep that uses them."""

from __future__ import annotations

import pytest

from pipeline.config import rules
from pipeline.config.compose import ConfigurationError, composed


def test_each_optimizer_gets_its_rate_at_its_width() -> None:
    names = [(optimizer, width) for optimizer in ("sgd", "adam") for width in (16, 512)]
    words = [["sweep=overfitting", f"optimizer={name}", f"model.width={width}"] for name, width in names]
    rates = [values["optimizer"]["learning_rate"] for values in composed(words)]
    assert rates == [rules.tuned_rates()[name][width] for name, width in names]
    assert rates[0] != rates[2], "sgd and adam"


def test_a_width_that_is_not_tuned_is_refused() -> None:
    words = ["sweep=overfitting", "optimizer=adam", "model.width=33"]
    with pytest.raises(
        ConfigurationError, match=r"^optimizer.learning_rate: conf/tuned\.yaml: no rate for adam at width 33"
    ):
        composed([words])
