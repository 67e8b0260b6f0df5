"""`python -m pipeline.ui`: the real server, and its pages in a real browser."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest

from pipeline import ui
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.tracking import front, server
from tests.unit.data.loopback import Server
from tests.unit.tracking.conftest import Filled

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
MORE_FLAGS = "disable-component-update disable-sync disable-dev-shm-usage window-size=1900,1100"


class Served(NamedTuple):
    process: subprocess.Popen[str]
    address: str
    lines: list[str]
    """The printed lines: the address, then for each experiment the links to its runs and their charts."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((server.HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(filled: Filled) -> Iterator[Served]:
    port = free_port()
    environment = os.environ | {"MLFLOW_TRACKING_URI": filled.tracker.address.uri}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.ui", f"port={port}"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline().strip() for _ in range(3)]
        yield Served(process, f"http://{server.HOST}:{port}", lines)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (143, "")
    complaints = [line for line in err.splitlines() if "invalid Host header: " not in line]
    assert complaints == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{server.HOST}:{port}/health", timeout=5)


@pytest.fixture(scope="module")
def browser(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(f"no browser here: {CHROMIUM} and {DRIVER} are Debian's packages chromium and chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*f"{FLAGS} {MORE_FLAGS}".split(), f"user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.implicitly_wait(30)
    yield driver
    driver.quit()


def open_view(browser: Any, served: Served, line: int) -> None:
    browser.get("about:blank")
    browser.get(served.lines[line].partition(": ")[2])


def test_it_says_where_it_is_and_leads_to_each_experiment(served: Served, filled: Filled) -> None:
    uri = filled.tracker.address.uri
    assert served.lines[0] == f"MLflow shows the runs of {uri} at {served.address} (Ctrl-C stops it)"
    assert served.lines[1].startswith(f"optimizers: {served.address}/#/experiments/1/runs?workflowType=")
    assert filled.client.get_experiment("1").tags["mlflow.experimentKind"] == "custom_model_development"


FOREIGN = ("evil.example", "10.evil.com", "192.168.evil.com", "172.16.evil.com", "localhost.evil.com")
"""MLflow's defaults accept some of these hosts (`10.*`)."""


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("host", [*FOREIGN, "localhost:1"])
def test_foreign_host_is_refused(served: Served, host: str) -> None:
    asked = urllib.request.Request(served.address, headers={"Host": host})
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(asked, timeout=10)
    refused.value.close()


def test_it_listens_to_this_machine_alone(served: Served) -> None:
    port = int(served.address.rpartition(":")[2])
    found = [
        each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    ]
    assert {each.laddr.ip for each in found} == {server.HOST}


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("path", ["../../../mlflow.db", "%2e%2e/%2e%2e/%2e%2e/mlflow.db"])
@pytest.mark.parametrize(
    "page", ["get-artifact?run_uuid={run}&path={path}", "api/2.0/mlflow/artifacts/list?run_id={run}&path={path}"]
)
def test_a_path_out_of_a_runs_files_is_refused(served: Served, filled: Filled, page: str, path: str) -> None:
    """The store's database is three folders above a run's files."""
    question = page.format(run=filled.run.info.run_id, path=path)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{served.address}/{question}", timeout=10)
    assert refused.value.code in (400, 403, 404)
    refused.value.close()


def test_port_in_use_is_one_line_with_another(served: Served) -> None:
    port = int(served.address.rpartition(":")[2])
    with pytest.raises(UserError, match=rf"port {port} is in use .* python -m pipeline\.ui port=\d+"):
        ui.main([f"port={port}"])


@pytest.mark.parametrize("word", ["0", "65536", "-1", "http", ""])
def test_port_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(UserError, match="expected a whole number from 1 to 65,535"):
        ui.main([f"port={word}"])


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{server.HOST}:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    monkeypatch.setattr(server, "START_SECONDS", 1)
    process: Any = SimpleNamespace(poll=lambda: None, returncode=None)
    with closing(Server({"health": b"OK"})) as there:
        server.wait_until_it_answers(process, there.http.server_port)


@pytest.mark.browser
@pytest.mark.skipif(not entry_points(group="mlflow.app", name=front.NAME), reason="make setup installs the entry point")
def test_it_opens_with_the_runs_of_the_newest_experiment_and_no_assistant(browser: Any, served: Served) -> None:
    browser.get(served.address)
    assert browser.find_element("css selector", "[role=columnheader][col-id*='overfitting_gap_points']").is_displayed()
    assert "/runs?workflowType=machine_learning" in browser.current_url
    assert "Ask questions about your" not in browser.find_element("tag name", "body").text


@pytest.mark.browser
def test_page_shows_the_sweep_and_opening_it_its_runs(browser: Any, served: Served) -> None:
    open_view(browser, served, 1)
    sweep = browser.find_element("link text", "optimizers-by-width")
    sweep.find_element("xpath", "./ancestor::*[@role='gridcell']//button").click()
    for seed in (0, 1, 2, 7):
        assert browser.find_element("link text", f"adam-w64-d1-s{seed}").is_displayed()
    heads = [head.text for head in browser.find_elements("css selector", "[role=columnheader][col-id*='.`']")]
    assert heads[1:] == ["optimizer.name", "model.width", "seed", "overfitting_gap_points", "test_accuracy_percent"]


@pytest.mark.browser
def test_charts_show_the_gap_by_width_and_curves(browser: Any, served: Served) -> None:
    open_view(browser, served, 2)
    for title in ("model.width vs. overfitting_gap_points", "Parallel Coordinates", "gap/accuracy", "val/loss"):
        assert browser.find_element("xpath", f"//*[normalize-space()='{title}']").is_displayed()
    assert browser.find_elements("css selector", ".js-plotly-plot .scatterlayer .trace")
