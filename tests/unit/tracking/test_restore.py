"""A run whose folder is gone, read back from what MLflow recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.storage.divergence import first_divergence
from pipeline.tracking import Tracker, open_tracker
from pipeline.tracking.restore import to_job
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


def test_an_empty_store_has_none(fresh: Callable[[], Tracker]) -> None:
    assert fresh().recorded("0" * 64) is None
    assert fresh().published_keys() == {}


def test_no_store_is_made_for_looking(tmp_path: Path) -> None:
    tracker = open_tracker("sqlite", root=tmp_path)
    assert (tracker.recorded("0" * 64), tracker.published_keys()) == (None, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("hostile input")
def test_what_is_not_what_its_key_says_is_refused(filled: Filled) -> None:
    """Somebody else may write to a store too: a run is trained again only as the one that was asked for."""
    run_id, data = filled.ids[0]["run_id"], filled.results[0].identity["data"]
    filled.tracker.set_tags(run_id, {"data.sha256": "0" * 64})
    try:
        with pytest.raises(
            UserError, match=r"not a whole run of this project .its key is not that of its configuration"
        ):
            filled.tracker.recorded(run_id)
    finally:
        filled.tracker.set_tags(run_id, {"data.sha256": data})
    assert filled.tracker.recorded(run_id) is not None


def test_keys_of_all_runs_by_their_ids(filled: Filled) -> None:
    there = filled.tracker.published_keys()
    assert there is not None
    assert {there[ids["run_id"]] for ids in filled.ids} == {result.key for result in filled.results}


def test_parameters_that_are_shown_only_are_no_part_of_the_job() -> None:
    from pipeline.tracking import describe

    result = make_result()
    assert to_job(describe.parameters(result)) == result.job
