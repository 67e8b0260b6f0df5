"""Links in a report use the port that `make ui` was given."""

from pathlib import Path

import pytest

from pipeline import compare, ui
from pipeline.cli import ui_address
from pipeline.tracking import open_tracker
from tests.support import factory

OTHER = "http://127.0.0.1:5001"


@pytest.mark.fault("the port of the UI")
def test_links_follow_the_port_of_make_ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    page = tmp_path / "reports/index.html"
    tracker = open_tracker("sqlite", root=tmp_path, environment={})
    folders = [factory.write_experiment(tmp_path / "results/book", factory.book_runs(2))]
    assert ui_address.read(tmp_path) == ui_address.DEFAULT
    ui.note_address(tracker, OTHER)
    compare.compare(folders, page.parent, tmp_path)
    assert f'href="{OTHER}/#/experiments/' in page.read_text()
    assert ui_address.DEFAULT not in page.read_text()


def test_a_ui_on_another_store_is_not_where_links_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "here"))
    ui.note_address(open_tracker("sqlite", root=tmp_path / "elsewhere", environment={}), OTHER)
    assert ui_address.read(tmp_path / "here") == ui_address.DEFAULT
