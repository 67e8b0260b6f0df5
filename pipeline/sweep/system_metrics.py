"""What a sweep takes of this machine while it runs: processor, memory and NVIDIA GPUs.

MLflow's own monitor writes whenever it likes, and two writers of a SQLite file make one another wait until they fail. So this
one only samples, and hands the samples to the publisher. The names are MLflow's, which shows them as system metrics.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import psutil  # type: ignore[import-untyped]

SECONDS = 10.0
"""From one sample to the next."""
MEGABYTE = 10**6


class SystemMetrics:
    """Samples in a thread of its own within the `with` block, and once at its end."""

    def __init__(self, send: Callable[[Mapping[str, float]], None], seconds: float = SECONDS) -> None:
        """`send` is called in that thread, with the sample; it must not wait."""
        self._send, self._seconds = send, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system-metrics", daemon=True)

    def __enter__(self) -> SystemMetrics:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        gpus = Gpus()
        psutil.cpu_percent()  # The load is that since the last call.
        ended = False
        while not ended:
            ended = self._ended.wait(self._seconds)
            self._send({**of_machine(), **gpus.sample()})


def of_machine() -> dict[str, float]:
    """Processor and memory of the whole machine, other programs included."""
    memory = psutil.virtual_memory()
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system/system_memory_usage_percentage": memory.percent,
    }


class Gpus:
    """All NVIDIA GPUs of this machine; none where NVIDIA's library is not there."""

    def __init__(self) -> None:
        import pynvml

        self._nvml, self._handles = pynvml, []
        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]

    def sample(self) -> dict[str, float]:
        """Load, memory and power of each GPU, as far as it tells: parts of one (MIG) tell no load."""
        found: dict[str, float] = {}
        for index, handle in enumerate(self._handles):
            for of in (self._load, self._memory, self._power):
                with suppress(self._nvml.NVMLError):
                    found |= {f"system/gpu_{index}_{name}": value for name, value in of(handle).items()}
        return found

    def _load(self, handle: Any) -> dict[str, float]:
        return {"utilization_percentage": self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu}

    def _memory(self, handle: Any) -> dict[str, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        share = 100 * memory.used / memory.total
        return {"memory_usage_megabytes": memory.used / MEGABYTE, "memory_usage_percentage": share}

    def _power(self, handle: Any) -> dict[str, float]:
        return {"power_usage_watts": self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000}
