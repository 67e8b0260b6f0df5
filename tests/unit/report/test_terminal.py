"""Output on a terminal of any width cuts no word and no figure."""

import dataclasses
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from pipeline.config.run_config import Optimizer, RunConfig
from pipeline.report import page, tables, terminal
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Pictures
from pipeline.report.prose import answers
from pipeline.storage.sources import Source
from tests.support import factory

pytestmark = pytest.mark.fault("narrow windows")


def tuned_by_hand(name: str, rate: float, activation: str, seed: int) -> RunConfig:
    job = factory.job(name, 512, seed, validation=10_000)
    model = dataclasses.replace(job.model, activation=activation, hidden=(512, 512, 256))
    return dataclasses.replace(job, model=model, optimizer=Optimizer(name, (("learning_rate", rate), ("beta_1", 0.95))))


@pytest.fixture(scope="module")
def long_names() -> Evidence:
    jobs = [
        tuned_by_hand(name, rate, activation, seed)
        for name in ("schedule_free_adamw", "adam")
        for rate in (0.001, 0.00031622776601683794)
        for activation in ("relu", "leaky_relu")
        for seed in range(10)
    ]
    name = "rates and activations of two optimizers"
    return Evidence([Source(name, (Path("runs"),), (), [factory.finished(job) for job in jobs])])


def shown(evidence: Evidence, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, highlight=False)
    terminal.show(evidence, console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 124, 200])
def test_the_table_cuts_no_figure_and_no_word(long_names: Evidence, width: int) -> None:
    lines = shown(long_names, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text.replace("… 4 more in", "")
    words = set(re.split(r"\s+", text))
    for _, row in tables.texts(long_names).iterrows():
        assert row["test, %"] in words
        assert set(row["configuration"].split()) <= words


@pytest.mark.parametrize("width", range(60, 90))
def test_nor_does_one_whose_widest_column_has_no_room_to_give(width: int) -> None:
    headings = ["place", "n", "validation, %", "test, %", "gap, points"]
    frame = pd.DataFrame([dict.fromkeys(headings, "97.76") | {"configuration": "rmsprop, width 512"}])
    console = Console(width=width, color_system=None)
    table = terminal.table(frame, console, {"configuration": 20}, headings)
    with console.capture() as captured:
        console.print(table)
    last = captured.get().rstrip().splitlines()[-1]
    assert len(last) <= width
    assert last.split().count("97.76") == len(table.columns) - 1


@pytest.mark.parametrize(("width", "intervals"), [(60, 0), (80, 1), (124, 2)])
def test_a_narrow_window_leaves_columns_out(long_names: Evidence, width: int, intervals: int) -> None:
    test = tables.texts(long_names).at[0, "test, %"]
    first = next(line for line in shown(long_names, width) if test in line)
    assert len(re.findall(r"\d to \d", first)) == intervals


def test_sentences_break_between_words_on_a_terminal_only(long_names: Evidence) -> None:
    sentence = answers.answers(long_names.analyses[long_names.questions[0]])[0].text
    assert set(sentence.split()) <= set(" ".join(shown(long_names, 80)).split())
    console = Console(file=io.StringIO(), width=80, highlight=False)
    terminal.show(long_names, console)
    assert any(line.endswith(sentence) for line in console.file.getvalue().splitlines())


@pytest.mark.browser
def test_a_page_with_long_names_fits_its_window(browser, long_names: Evidence, tmp_path: Path) -> None:
    (tmp_path / "long.html").write_text(page.render(long_names, Pictures(long_names)))
    browser.get((tmp_path / "long.html").as_uri())
    for width in (1280, 1024, 400):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        script = "return [...document.querySelectorAll('.board')].map(t => t.scrollWidth - t.parentElement.clientWidth)"
        assert max(browser.execute_script(script)) <= 0, width
