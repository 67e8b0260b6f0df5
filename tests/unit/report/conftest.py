"""A report shared by all tests here: six optimizers, four widths, three seeds, and the book's network."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline import compare
from pipeline.report.evidence import Evidence
from pipeline.storage.sources import Source, read_sources
from pipeline.storage.sweeps import Sweep
from pipeline.training.result import RunResult
from tests.support import factory
from tests.support.once import once


@dataclass
class Report:
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "reports"

    @property
    def folders(self) -> list[Path]:
        return [self.root / "results" / name for name in ("book", "sweep")]

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / name)

    @property
    def page(self) -> str:
        return (self.folder / "index.html").read_text()

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text())


def make_report(root: Path) -> None:
    data, (runs, winner) = factory.write_data(root / "data"), factory.sweep_runs()
    book = factory.write_experiment(root / "results/book", factory.book_runs())
    sweep = factory.write_experiment(root / "results/sweep", runs, winner)
    with contextlib.redirect_stdout(io.StringIO()):
        compare.compare([book, sweep], root / "reports", data)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return Report(once(tmp_path_factory, "compare", make_report))


@pytest.fixture(scope="session")
def evidence(report: Report) -> Evidence:
    return Evidence(read_sources(report.folders))


def as_evidence(results: list[RunResult], name: str = "sweep", **sweep: Any) -> Evidence:
    """Return evidence of runs that exist in memory only."""
    records = (Sweep(name, [result.key for result in results], **sweep),) if sweep else ()
    return Evidence([Source(name, (Path(name),), records, results, lost=list(sweep.get("lost", [])))])


@pytest.fixture
def of_runs() -> Callable[..., Evidence]:
    return as_evidence


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Any]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no chromium with its chromedriver on the PATH (Debian: chromium, chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    quiet = ("quic", "background-networking", "component-update", "sync", "gpu", "dev-shm-usage")
    profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        profile,
        *(f"--disable-{word}" for word in quiet),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
