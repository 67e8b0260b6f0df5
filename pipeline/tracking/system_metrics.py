"""What a sweep takes of this machine while it runs: processor, memory and NVIDIA GPUs, as MLflow's own monitors measure them.

MLflow's own thread would write whenever it likes, and two writers of a SQLite file make one another wait until they fail. So
samples are handed over to be written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

SECONDS = 10.0
"""From one sample to the next."""


@contextmanager
def sampled(send: Callable[[Mapping[str, float]], None], seconds: float = SECONDS) -> Iterator[None]:
    """Call `send` with a sample every so many seconds of the block, and at its end; in a thread of its own, so it must not wait."""
    ended = threading.Event()

    def work() -> None:
        monitors, last = _monitors(), False
        _sample(monitors)  # the load is that since the last call
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
    """MLflow's monitors of what this machine has."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    # A part of a GPU (MIG) tells no load: no warning every few seconds.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    found: list[Any] = [CPUMonitor()]
    with suppress(ImportError, RuntimeError):  # no GPU, or not NVIDIA's library
        found.append(GPUMonitor())
    return found


def _sample(monitors: list[Any]) -> dict[str, float]:
    sample: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        sample |= {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
        monitor.clear_metrics()
    return sample
