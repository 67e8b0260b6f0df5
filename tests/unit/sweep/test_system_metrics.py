"""Samples of the machine: by themselves, at the end, and of GPUs that say nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.sweep.system_metrics import Gpus, SystemMetrics


def test_it_samples_every_few_seconds_and_once_at_the_end() -> None:
    samples: list[Mapping[str, float]] = []
    three = threading.Event()

    def send(sample: Mapping[str, float]) -> None:
        samples.append(sample)
        if len(samples) == 3:
            three.set()

    with SystemMetrics(send, seconds=0.01):
        assert three.wait(10)
    during = len(samples)
    assert during >= 4
    with SystemMetrics(samples.append, seconds=60):
        pass
    assert len(samples) == during + 1, "a short sweep has a sample too"
    assert all(0 <= sample["system/cpu_utilization_percentage"] <= 100 for sample in samples)
    assert all(sample["system/system_memory_usage_megabytes"] > 1 for sample in samples)


class Nvml:
    """NVIDIA's library on a machine with two GPUs, of which the second one tells no load."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if handle:
            raise self.NVMLError("not supported")
        return SimpleNamespace(gpu=70)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=2_000_000, total=8_000_000)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 350_000


def test_of_a_gpu_it_says_what_the_gpu_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    memory = {"memory_usage_megabytes": 2.0, "memory_usage_percentage": 25.0, "power_usage_watts": 350.0}
    expected = {f"system/gpu_{gpu}_{name}": value for gpu in (0, 1) for name, value in memory.items()}
    assert Gpus().sample() == expected | {"system/gpu_0_utilization_percentage": 70}


def test_a_machine_without_nvidia_s_library_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(Nvml):
        def nvmlInit(self) -> None:
            raise self.NVMLError("library not found")

    monkeypatch.setitem(sys.modules, "pynvml", Missing())
    assert Gpus().sample() == {}
