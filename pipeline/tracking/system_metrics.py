"""System metrics of a sweep: CPU, memory and NVIDIA GPUs, measured by MLflow's monitors.

MLflow's own thread would write at any time, and concurrent writers to a SQLite file time out. So samples are passed to a
callback.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

SECONDS = 10.0
"""Time between two samples."""


@contextmanager
def sampled(send: Callable[[Mapping[str, float]], None], seconds: float = SECONDS) -> Iterator[None]:
    """Call `send` with a sample every `seconds` and at the end of the block, from another thread; `send` must not block."""
    ended = threading.Event()

    def work() -> None:
        monitors, last = _monitors(), False
        _sample(monitors)  # the load is measured since the last call
        while not last:
            last = ended.wait(seconds)
            send(_sample(monitors))

    thread = threading.Thread(target=work, name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _monitors() -> list[Any]:
    """Return MLflow's monitors for this machine."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    # A MIG slice reports no load; MLflow would warn at every sample.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    found: list[Any] = [CPUMonitor()]
    with suppress(ImportError, RuntimeError):  # no GPU, or no NVIDIA library
        found.append(GPUMonitor())
    return found


def _sample(monitors: list[Any]) -> dict[str, float]:
    sample: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        sample |= {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
        monitor.clear_metrics()
    return sample
