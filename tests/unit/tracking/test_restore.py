"""A run whose folder is gone, read back from what MLflow recorded of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.storage.divergence import first_divergence
from pipeline.tracking import Tracker, describe, open_tracker, restore
from tests.unit.tracking.conftest import Filled
from tests.unit.tracking.factory import make_result


@pytest.mark.parametrize("word", ["id", "key", "letters"])
def test_a_run_comes_back_with_all_that_reproducing_it_needs(filled: Filled, word: str) -> None:
    result = filled.results[1]
    words = {"id": filled.ids[1]["run_id"], "key": result.key, "letters": result.key[:10]}
    back = filled.tracker.recorded(words[word])
    assert back is not None
    assert (back.key, back.job, back.status, back.started) == (
        result.key,
        result.job,
        result.status,
        "2026-02-03T04:05:06.000+00:00",
    )
    assert back.exact == result.exact, "every number, bit by bit"
    assert (back.digests, back.identity, back.environment) == (result.digests, result.identity, result.environment)
    assert first_divergence(result, back) is None


def test_a_diverged_run_keeps_its_reason(filled: Filled) -> None:
    back = filled.tracker.recorded(filled.diverged.key)
    assert back is not None
    assert (back.status, back.reason, back.figures) == ("diverged", "loss is nan", {})


@pytest.mark.parametrize("word", ["nothing", "adam-w64-d1-s0", "0" * 64, "0" * 32, "a'; --"])
def test_what_is_not_there_is_none(filled: Filled, word: str) -> None:
    assert filled.tracker.recorded(word) is None


def test_no_store_is_made_for_looking(tmp_path: Path) -> None:
    tracker = open_tracker("sqlite", root=tmp_path)
    assert tracker.recorded("0" * 64) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("hostile input")
def test_what_is_not_what_its_key_says_is_refused(filled: Filled, tmp_path: Path) -> None:
    """Somebody else may write to a store too: a run is trained again only as the one that was asked for."""
    run_id, result = filled.ids[0]["run_id"], filled.results[0]
    forged = json.loads(describe.provenance(result))
    forged["identity"]["data"] = "0" * 64
    (tmp_path / "provenance.json").write_text(json.dumps(forged))
    filled.tracker.add_files(run_id, {"provenance.json": tmp_path / "provenance.json"})
    try:
        with pytest.raises(
            UserError, match=r"not a whole run of this project .its key is not that of its configuration"
        ):
            filled.tracker.recorded(run_id)
    finally:
        (tmp_path / "provenance.json").write_text(describe.provenance(result))
        filled.tracker.add_files(run_id, {"provenance.json": tmp_path / "provenance.json"})
    assert filled.tracker.recorded(run_id) is not None


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("content", ["", "[]", '{"identity": 1}', '{"identity": {}, "digests": []}', "[" * 100_000])
def test_a_provenance_that_is_none_is_refused_in_one_line(filled: Filled, content: str) -> None:
    with pytest.raises(UserError, match=r"not a whole run of this project \("):
        restore.result(filled.run, {}, content)


def test_a_figure_of_all_samples_does_not_take_the_place_of_the_curve(fresh: Callable[[], Tracker]) -> None:
    """The curve is of the same samples at every point; the figure at its last epoch may be of more."""
    result = make_result(figures={"train/accuracy": 0.5, "test/accuracy": 0.97})
    fresh().publish(result, "e")
    back = fresh().recorded(result.key)
    assert back is not None
    assert back.history == result.history
    assert result.figures.items() <= back.figures.items()
