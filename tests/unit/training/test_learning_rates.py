"""Learning rates of every step, compared with Keras's own schedules."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.training.shapes import learning_rates
from tests.support.factory import make_job

pytestmark = pytest.mark.usefixtures("keras")
STEPS, EPOCHS = 7, 6


def ours(**changes: Any) -> list[float]:
    job = make_job("adam", **({"learning_rate": 0.1, "epochs": EPOCHS} | changes))
    return np.concatenate([learning_rates(job, epoch, STEPS) for epoch in range(EPOCHS)]).tolist()


def test_a_constant_stays() -> None:
    assert ours(schedule="constant") == [0.1] * STEPS * EPOCHS


def test_schedules_are_kerass(keras: ModuleType) -> None:
    schedules = keras.optimizers.schedules
    decay = {"decay": 0.5, "decay_epochs": 2}
    each = {
        "staircase": (decay, schedules.ExponentialDecay(0.1, 2 * STEPS, 0.5, staircase=True)),
        "exponential": (decay, schedules.ExponentialDecay(0.1, 2 * STEPS, 0.5)),
        "inverse_time": (decay, schedules.InverseTimeDecay(0.1, 2 * STEPS, 1.0)),
        "polynomial": (decay | {"power": 2.0}, schedules.PolynomialDecay(0.1, 2 * STEPS, 0.05, power=2.0)),
        "cosine_restarts": ({"decay_epochs": 2}, schedules.CosineDecayRestarts(0.1, 2 * STEPS)),
        "cosine": ({}, schedules.CosineDecay(0.1, EPOCHS * STEPS)),
        "cosine after a warm-up": (
            {"warmup_epochs": 2},
            schedules.CosineDecay(0.0, 4 * STEPS, warmup_target=0.1, warmup_steps=2 * STEPS),
        ),
        # In Keras, a boundary is the last step before a change.
        "piecewise": (
            {"boundaries": [2, 5], "factors": [0.5, 2.0]},
            schedules.PiecewiseConstantDecay([2 * STEPS - 1, 5 * STEPS - 1], [0.1, 0.05, 0.2]),
        ),
    }
    for schedule, (changes, keras_s) in each.items():
        expected = [float(keras_s(step)) for step in range(STEPS * EPOCHS)]
        found = ours(schedule=schedule.split()[0], **changes)
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-8), schedule


@pytest.mark.parametrize("schedule", ["constant", "staircase"])
def test_a_schedule_begins_after_the_warm_up(schedule: str) -> None:
    decay = {"decay": 0.01, "decay_epochs": 1} if schedule == "staircase" else {}
    found = ours(schedule=schedule, warmup_epochs=3, **decay)
    assert found[: 3 * STEPS] == pytest.approx([0.1 * step / (3 * STEPS) for step in range(3 * STEPS)])
    assert found[3 * STEPS :] == pytest.approx(ours(schedule=schedule, **decay)[: 3 * STEPS])


def test_a_schedule_of_one_s_own_is_named_by_its_import_path() -> None:
    rates = ours(schedule="tests.support.custom_code.triangle")
    assert rates[0] == 0
    assert max(rates) == rates[STEPS * EPOCHS // 2] == pytest.approx(0.2)


def test_a_schedule_without_a_factor_for_each_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.custom_code.triangle", lambda step, steps, epochs: 1.0)
    with pytest.raises(UserError, match=r"triangle: expected a factor for each of 7 steps, got shape \(\)"):
        ours(schedule="tests.support.custom_code.triangle")
