"""Restoring a run from its record in MLflow when its folder is gone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.config import run_config
from pipeline.storage.divergence import first_divergence
from pipeline.tracking import describe, open_tracker
from tests.unit.tracking.conftest import Filled


@pytest.mark.parametrize("word", ["id", "key", "letters"])
def test_a_run_comes_back_with_all_that_reproducing_it_needs(filled: Filled, word: str) -> None:
    result = filled.results[1]
    words = {"id": filled.ids[1]["run_id"], "key": result.key, "letters": result.key[:10]}
    back = filled.tracker.recorded(words[word])
    assert back is not None
    assert replace(back, predictions=None) == replace(result, predictions=None)
    assert back.exact == result.exact, "every number, bit by bit"
    assert first_divergence(result, back) is None
    diverged = filled.tracker.recorded(filled.diverged.key)
    assert diverged is not None
    assert diverged.reason == "loss is nan"


@pytest.mark.parametrize("word", ["nothing", "adam-w64-d1-s0", "0" * 64, "0" * 32, "a'; --"])
def test_what_is_not_there_is_none(filled: Filled, word: str) -> None:
    assert filled.tracker.recorded(word) is None


def test_no_store_is_made_for_looking(tmp_path: Path) -> None:
    tracker = open_tracker("sqlite", root=tmp_path)
    assert tracker.recorded("0" * 64) is None
    assert tracker.run("0" * 32) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("hostile input")
def test_what_is_not_what_its_key_says_is_refused(filled: Filled) -> None:
    """Others may write to a store, so a record that does not match the requested key is refused."""
    forged = json.loads(describe.provenance(filled.results[0]))
    forged["record"]["identity"]["data"] = "0" * 64
    for digest in (forged["sha256"], run_config.digest(forged["record"])):
        with pytest.raises(UserError, match=r"its record does not match|its key is not that of its configuration"):
            describe.restored(json.dumps(forged | {"sha256": digest}), filled.results[0].key)


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("content", ["", "[]", '{"identity": {}, "digests": {}}', '{"record": 1}', "[" * 100_000])
def test_a_provenance_that_is_none_is_refused_in_one_line(content: str) -> None:
    with pytest.raises(UserError, match=r"provenance\.json of the run 0000.* it is incomplete, or an earlier release"):
        describe.restored(content, "0" * 64)
