"""Which network becomes champion, which does not and why, and the champion served over HTTP."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import preprocess, promote
from pipeline.cli.console import PROJECT
from pipeline.config.digests import arrays_digest
from pipeline.data import arrays
from pipeline.data.arrays import Arrays
from pipeline.storage.store import RunStore, save_weights
from pipeline.storage.sweeps import Sweep, find_sweep
from pipeline.sweep import reproduction
from pipeline.sweep.reproduction import Reproduction, Verdict
from pipeline.tracking import open_tracker, promotion
from pipeline.tracking.promotion import Candidate, NotPromoted
from pipeline.training.result import RunResult
from pipeline.training.splits import Scaling
from tests.support.factory import make_job, stored
from tests.unit.training.command import Place, command

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
"""MLflow and its libraries emit warnings of their own."""

WORDS = ["model.width=4,16", "seed=0,1,2", "training.epochs=3", "optimizer=adam", "device.xla=false", "question=tests"]


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory, digits: Arrays) -> Path:
    """A folder like data/processed with data in MNIST's shape: the digits, each pixel enlarged to three by three."""
    content: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        images = np.kron(np.asarray(getattr(digits, f"{part}_images")).reshape(-1, 8, 8), np.ones((3, 3), np.float32))
        whole = np.rint(np.pad(images, ((0, 0), (2, 2), (2, 2))) * 255).astype(np.uint8).reshape(len(images), -1)
        content[f"{part}_images"] = preprocess.scale(whole, 255)
        content[f"{part}_labels"] = np.asarray(getattr(digits, f"{part}_labels"))
    folder = tmp_path_factory.mktemp("mnist")
    made = Arrays("mnist", **content, classes=10, image_shape=(28, 28), digest=arrays_digest(content), brightest=255)
    arrays.write(made, folder / "mnist")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, mnist: Path) -> Iterator[Place]:
    """A sweep recorded in an MLflow store of its own."""
    where = Place(tmp_path_factory.mktemp("project"), mnist)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{where.root / 'mlflow.db'}")
        said = command("-m", *own(where), *WORDS)
        assert said.status == 0, said.out + said.err
        yield where


def own(place: Place, without: str = "tracking") -> list[str]:
    """Return the words that confine a command to `place` and its data, with tracking on."""
    words = [word for word in place.words if not word.startswith(("tracking", "dataset", without))]
    return [*words, "dataset=mnist", "dataset.validation_size=200"]


@pytest.fixture(scope="module")
def promoted(place: Place) -> str:
    """Output of the promote command."""
    words = ["tests", "gap_limit=50", f"data={place.processed}", f"runs={place.root / 'runs'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.promote", *words], cwd=PROJECT, capture_output=True, text=True, timeout=300
    )
    # MLflow prints no warning and no progress bar.
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def run(place: Place, **changes: Any) -> str:
    sweep, runs = find_sweep("tests", place.store, place.root)
    best = runs.read(sweep.winner or "")
    like = [each for each in map(runs.record, sweep.keys) if each.job.configuration == best.job.configuration]
    candidate = Candidate(changes.get("best", best), changes.get("like", like))
    limit = changes.get("limit", 50.0)
    return promote.promote(candidate, limit, place.processed, place.store, place.store, open_tracker("sqlite"))


def test_the_first_one_is_promoted_with_its_reasons(place: Place, promoted: str) -> None:
    assert promoted.startswith("adam-w16-d1-s")
    assert "is now the champion (version 1 of mnist-dense): validation accuracy " in promoted
    assert "there was no champion" in promoted
    assert promoted.endswith("to the validation split is under the limit of 50; trained again, every bit was the same")


def other(place: Place, **changes: object) -> RunResult:
    """Store the best run of the sweep under another key and return it, as if it were another run."""
    sweep, runs = find_sweep("tests", place.store, place.root)
    best = dataclasses.replace(runs.read(sweep.winner or ""), key="e" * 64, **changes)  # type: ignore[arg-type]
    job = dataclasses.replace(best.job, training=dataclasses.replace(best.job.training, epochs=4))
    best = dataclasses.replace(best, job=job)
    place.store.write(best)
    place.store.note_published(best.key, place.store.published(sweep.winner or ""))
    return best


def test_what_does_not_come_out_the_same_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def differently(results: list[RunResult], *_: object) -> list[Reproduction]:
        return [Reproduction(results[0], Verdict.DEFECT, "epoch 1: train/loss was 1, is 2")]

    monkeypatch.setattr(reproduction, "reproduce", differently)
    monkeypatch.setattr(promotion, "champion", lambda *_: None)
    with pytest.raises(NotPromoted, match="a defect: epoch 1"):
        run(place, best=other(place))


def test_a_sweep_from_another_machine_is_found_where_publish_noted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    theirs, best = RunStore(tmp_path / "theirs"), stored()
    theirs.write(best)
    theirs.note_published(best.key, {"run_id": "1", "store": open_tracker("sqlite").address.name})
    Sweep("tests", [best.key], best.key).write(theirs.root)
    monkeypatch.setattr(promotion, "champion", lambda *_: SimpleNamespace(key=best.key, version="1"))
    assert promote.main([str(theirs.root), f"runs={tmp_path}/runs", "tracking=sqlite"]) == 0
    assert "is the champion already (version 1)" in capsys.readouterr().out


# --- the served champion


Ask = Callable[[Any], tuple[int, Any]]


@pytest.fixture(scope="module")
def ask(promoted: str) -> Iterator[Ask]:
    """Serve the champion by the documented command; yield a function that posts data and returns status and answer."""
    from tests.unit.tracking.test_ui import free_port

    port = free_port()
    words = f"models serve -m models:/mnist-dense@champion --env-manager local --port {port}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words.split()],
        env=os.environ | {"PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def question(plain: Any) -> tuple[int, Any]:
        return post(f"http://127.0.0.1:{port}/invocations", plain)

    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield question
    finally:
        # MLflow starts uvicorn and does not forward the signal to it.
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
    except OSError:
        return False
    return True


def post(address: str, plain: Any) -> tuple[int, Any]:
    request = urllib.request.Request(address, json.dumps(plain).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_raw_pixels_get_classes_and_probabilities(ask: Ask, place: Place) -> None:
    """The whole test split, sent over HTTP, gives the predictions and the accuracy in the run's record."""
    data = arrays.load(place.processed / "mnist")
    images = np.rint(np.asarray(data.test_images) * 255).astype(int)
    status, answer = ask({"inputs": images.reshape(-1, 28, 28).tolist()})
    assert status == 200
    winner = place.store.read(find_sweep("tests", place.store, place.root)[0].winner or "")
    assert winner.predictions is not None
    classes = [each["class"] for each in answer["predictions"]]
    assert classes == winner.predictions.tolist()
    assert np.mean(classes == data.test_labels) == pytest.approx(winner.metrics["test/accuracy"])
    sums = [sum(each["probabilities"]) for each in answer["predictions"]]
    assert sums == pytest.approx([1.0] * len(images), abs=1e-5)


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 28, 28))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (PIXELS / 255, "got fractions; were the pixels scaled to [0, 1]?"),
        (PIXELS > 127, "got no value above 1; were the pixels scaled to [0, 1]?"),
        (-PIXELS, "got values from -255 to 0"),
        (np.full((1, 28, 28), np.nan), "raw pixels, whole numbers from 0 to 255; got values from nan to nan"),
        (PIXELS.reshape(2, -1), "does not match expected shape (-1, 28, 28)"),
        (PIXELS[:0], "numpy array input"),
    ],
    ids=["scaled", "black and white", "negative", "not a number", "flat", "none"],
)
def test_anything_but_raw_pixels_is_refused(ask: Ask, images: np.ndarray, said: str) -> None:
    status, answer = ask({"inputs": images.tolist()})
    assert status == 400
    assert said in answer["message"]


def context_of(folder: Path) -> SimpleNamespace:
    """Return a stand-in for the context that MLflow passes: the paths of the model's files."""
    return SimpleNamespace(artifacts={"weights": str(folder / "weights.npz"), "network": str(folder / "network.json")})


@pytest.mark.fault("hostile input")
def test_pickled_weights_are_not_served(tmp_path: Path, keras: Any) -> None:
    from pipeline.tracking import served

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sentinel",)

    np.savez(tmp_path / "weights.npz", **{"classes.bias": np.array([Evil()], object)})
    plain = {"job": make_job().to_dict(), "image_shape": [8, 8], "brightest": 16}
    (tmp_path / "network.json").write_text(json.dumps(plain))

    with pytest.raises(ValueError, match="allow_pickle=False"):
        served.Classifier().load_context(context_of(tmp_path))
    assert not (tmp_path / "sentinel").exists()


def test_rows_of_a_table_are_scaled_as_those_were_that_it_learnt(tmp_path: Path, keras: Any) -> None:
    from mlflow.exceptions import MlflowException

    from pipeline.models import networks
    from pipeline.tracking import served

    job, rows = make_job(), np.random.default_rng(0).normal(50, 9, (4, 5)).astype(np.float32)
    network = networks.build(job.model, (5,), 3, "float32")
    networks.set_initial(network, job.model, seed=0)
    save_weights(tmp_path / "weights.npz", networks.weights(network))
    scaling = Scaling.of(rows)
    plain = {"job": job.to_dict(), "image_shape": [5], "brightest": 1}
    plain["scaling"] = [scaling.mean.tolist(), scaling.deviation.tolist()]
    (tmp_path / "network.json").write_text(json.dumps(plain))
    classifier = served.Classifier()
    classifier.load_context(context_of(tmp_path))
    found = classifier.predict(None, rows)
    assert np.array_equal(np.array(found["probabilities"].tolist(), np.float32), network(scaling.apply(rows)))
    with pytest.raises(MlflowException, match="expected finite numbers"):
        classifier.predict(None, rows * np.nan)
