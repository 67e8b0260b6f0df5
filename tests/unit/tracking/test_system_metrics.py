"""System metrics under MLflow's names: sampled at intervals, and once at the end."""

import threading
from collections.abc import Mapping

from pipeline.tracking.system_metrics import sampled


def test_it_samples_every_few_seconds_and_once_at_the_end() -> None:
    samples: list[Mapping[str, float]] = []
    three = threading.Event()

    def send(sample: Mapping[str, float]) -> None:
        samples.append(sample)
        if len(samples) == 3:
            three.set()

    with sampled(send, seconds=0.01):
        assert three.wait(60)
    during = len(samples)
    assert during >= 4
    with sampled(samples.append, seconds=60):
        pass
    assert len(samples) == during + 1, "a short sweep has a sample too"
    assert all(0 <= sample["system/cpu_utilization_percentage"] <= 100 for sample in samples)
    assert all(sample["system/system_memory_usage_megabytes"] > 1 for sample in samples)
