"""Which runs may become champion."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from pipeline.tracking import promotion
from pipeline.tracking.promotion import Candidate, Champion, NotPromoted
from tests.support.factory import arrays, make_result

CHAMPION = Champion("1", "sgd-w4-d1-s0", "k", "c", "d", {seed: 0.90 + seed / 1000 for seed in range(5)})
BEST: Any = SimpleNamespace(name="adam-w4-d1-s0", identity={"data": "d"}, job=SimpleNamespace(configuration="other"))
BETTER = {seed: 0.91 + seed / 1000 for seed in range(5)}


@pytest.mark.parametrize(
    ("seeds", "better"),
    [
        (BETTER, True),
        ({seed: 0.90 + seed / 1000 for seed in range(5)}, False),
        ({seed: 0.89 + seed / 1000 for seed in range(5)}, False),
        ({seed: 0.9001 + seed % 2 / 100 for seed in range(5)}, False),
        ({seed: 0.93 + seed / 1000 for seed in range(10, 15)}, True),
        ({seed: 0.9021 + seed / 1000 for seed in range(10, 13)}, True),
    ],
    ids=["each seed better", "the same", "worse", "within the spread", "other seeds, better", "other seeds, just"],
)
def test_better_means_beyond_the_spread_of_the_seeds(seeds: dict[int, float], better: bool) -> None:
    if better:
        assert "against the champion sgd-w4-d1-s0 (p = " in promotion.check_better(BEST, seeds, CHAMPION)
    else:
        with pytest.raises(NotPromoted, match="not better beyond the spread"):
            promotion.check_better(BEST, seeds, CHAMPION)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"identity": {"data": "e"}}, "trained on other data"),
        ({"job": SimpleNamespace(configuration="c")}, "has the same configuration; another seed is not better"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(NotPromoted, match=why):
        promotion.check_better(SimpleNamespace(**(vars(BEST) | change)), BETTER, CHAMPION)  # type: ignore[arg-type]


def test_too_few_seeds_are_refused() -> None:
    with pytest.raises(NotPromoted, match="1 seed with a validation split; expected at least 3"):
        promotion.check_better(BEST, {0: 0.9}, None)


def test_a_large_gap_is_refused() -> None:
    runs: Any = [SimpleNamespace(history={"gap/accuracy": [0.0, gap]}) for gap in (0.01, 0.03)]
    assert "its gap of 2.00 points" in promotion.check_gap(Candidate(BEST, runs), 2.5)
    with pytest.raises(NotPromoted, match=r"is not under the limit of 2 \(gap_limit\)"):
        promotion.check_gap(Candidate(BEST, runs), 2.0)


def test_the_description_of_the_model_holds_for_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, client, best = MagicMock(), MagicMock(), make_result()
    tracker.connection.exclusive.return_value.__enter__.return_value = client
    monkeypatch.setattr(promotion.models, "log_served", lambda *_: "m-1")
    promotion.register(tracker, Candidate(best, [best]), "run", arrays(), "better")
    assert client.create_registered_model.call_args.kwargs["description"].startswith("Networks on ")
