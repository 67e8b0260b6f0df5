"""What one person trained, another pulls: a second clone has everything, and `dvc repro` there trains nothing.

The commands are those of docs/sharing.md; the remote is a folder, or an S3 on loopback where requirements-s3.lock is
installed (`make setup EXTRAS=s3`).
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import clone as clones
from tests.support.clone import Clone

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(480)]

KEYS = {"AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def first(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the pipeline ran; a copy, since its configuration is changed."""
    return clones.after_repro(tmp_path_factory).copy(tmp_path / "first", "mlflow.db*", "mlartifacts", "runs")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of an S3 that keeps everything in its memory, with a bucket `group`."""
    absent = [name for name in ("dvc_s3", "moto") if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{' and '.join(absent)} not installed: make setup EXTRAS=s3")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with open(tmp_path / "s3.log", "wb") as log:
        program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(program, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        bucket = urllib.request.Request(f"{url}/group", method="PUT")
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(bucket, timeout=10).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "s3.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


def passes_it_on(first: Clone, *commands: str) -> None:
    """The commands that make the remote known, then from one clone to another."""
    for command in commands:
        first.run(command)
    assert "pushed" in first.run("dvc push")
    first.commit("Where results are kept")
    second = Clone(first.path.parent / "second")
    first.run(f"git clone --quiet '{first.path}' '{second.path}'")
    assert not (second.path / "results").exists()
    said = second.run("dvc pull")
    assert "fetched" in said
    assert "Data and pipelines are up to date." in (again := second.run("dvc repro"))
    assert "Running stage" not in again
    assert second.run("dvc status").strip() == "Data and pipelines are up to date."
    assert not (second.path / "runs").exists(), "nothing was trained"
    for name in ("reports/index.html", "results/sweep/sweep.json"):
        assert second.read(name) == first.read(name)
    assert second.run("git status --porcelain") == ""


@pytest.mark.slow
def test_a_folder_passes_it_on(first: Clone, tmp_path: Path) -> None:
    (tmp_path / "shared drive").mkdir()
    passes_it_on(first, f"dvc remote add --default storage '{tmp_path}/shared drive/overfitting-gap'")


@pytest.mark.slow
def test_an_s3_passes_it_on(first: Clone, s3: str) -> None:
    passes_it_on(
        first,
        "dvc remote add --default storage s3://group/overfitting-gap",
        f"dvc remote modify storage endpointurl {s3}",
    )


def test_keys_stay_out_of_git(first: Clone) -> None:
    """What is in the configuration is in git: keys belong into the environment, or `--local`."""
    first.run("dvc remote add --default storage s3://group/overfitting-gap")
    first.run("dvc remote modify --local storage access_key_id anyone")
    assert "anyone" not in first.read(".dvc/config")
    assert "anyone" in first.read(".dvc/config.local")
    assert first.run("git status --porcelain") == " M .dvc/config\n"
