"""What a command is to train: a plan is a tuple of planned runs, a value that nobody changes.

`make_plan` makes one of the composed configurations and checks it; `look_up` gives a new one, with what the store has.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import shown_line
from pipeline.config import compose, rules
from pipeline.config.names import names
from pipeline.config.run_config import RunConfig, digest
from pipeline.data.arrays import Arrays, load
from pipeline.models import networks
from pipeline.models.devices import Device
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import LEDGER
from pipeline.sweep.pool import Pool, check_one_set_up, choose_device
from pipeline.tracking.address import home
from pipeline.training.result import DIVERGED, FAILED, FINISHED, PRUNED, RunResult

NEW = "new"

ASKED_STACK = "stack_asked"
"""Key in the record of a run whose stack was halved to fit the memory: the requested `device.stack`."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: its configuration, data and device, and its stored result."""

    job: RunConfig
    device: Device
    arrays: Arrays
    key: str
    identity: dict[str, Any]
    overrides: list[str]
    found: str = NEW
    """The status of the stored run, or `new`."""
    stored: RunResult | None = None
    """The stored result; None if `force` or `retry` trains the run again."""
    called: str = ""
    """The name within the plan, set by `look_up`."""
    again: str = ""
    """The command that trains it, if not `pipeline.train`."""

    @property
    def name(self) -> str:
        return self.called or self.job.name

    def of(self, job: RunConfig, overrides: Sequence[str] = ()) -> PlannedRun:
        """Return the run of another configuration on the same data and device, with `overrides` after those of this run."""
        return replace(self, job=job, key=identity.key_of(job, self.identity), overrides=[*self.overrides, *overrides])

    def begun(self, at: datetime) -> RunResult:
        """Return the result of the run when its training begins, without metrics."""
        environment, started = identity.environment(), at.isoformat(timespec="milliseconds")
        return RunResult(
            self.key, self.job, "running", identity=self.identity, environment=environment, started=started
        )

    @property
    def command(self) -> str:
        """The command that trains this run alone, without `paths.results`, since it would empty that folder."""
        overrides = [each for each in self.overrides if not each.lstrip("+").startswith("paths.results=")]
        return self.again or shlex.join(["python", "-m", "pipeline.train", *overrides])

    @property
    def samples(self) -> int:
        """Number of training samples."""
        return self.job.dataset.train_size or len(self.arrays.train_labels) - self.job.dataset.validation_size

    @property
    def parameters(self) -> int:
        return networks.parameters(self.job.model, self.arrays.train_images.shape[1], self.arrays.classes)


Plan = tuple[PlannedRun, ...]


class Planner:
    """Makes runs on the data sets of a folder, each of which is read once. Identities are worked out once, too.

    They read the versions of packages from files: 2 ms, too much for each of a thousand runs.
    """

    def __init__(self, data: Path, verified: bool = False) -> None:
        self.arrays = cache(lambda name: load(data / name, verified=verified))
        self._identity = cache(
            lambda name, device, own: identity.identity(self.arrays(name).digest, device.numerics(), own)
        )

    def run(self, job: RunConfig, device: Device, overrides: Sequence[str] = (), again: str = "") -> PlannedRun:
        arrays, made_of = self.arrays(job.dataset.name), self._identity(job.dataset.name, device, job.custom_code)
        return PlannedRun(job, device, arrays, identity.key_of(job, made_of), made_of, list(overrides), again=again)


def make_plan(values: list[dict[str, Any]], overrides: list[list[str]], pool: Pool | None = None) -> Plan:
    """The runs of the configurations `values`, on the device of `pool` or of this machine.

    Raises ConfigurationError with every problem of every configuration, or UserError if a single process cannot train them all.
    """
    problems = [line for value in values for line in compose.problems(value)] + shared_problems(values)
    if problems:
        raise compose.ConfigurationError(problems)
    planner = Planner(from_project(values[0]["paths"]["data"]))
    asked = {digest(value["device"]): value["device"] for value in values}
    chosen = {key: choose_device(device, pool) for key, device in asked.items()}
    check_one_set_up(chosen.values())
    plan, problems = [], results_problems(values[0]["paths"])
    for value, own in zip(values, overrides, strict=True):
        run = planner.run(compose.to_job(value), chosen[digest(value["device"])], own)
        plan.append(run)
        problems += compose.check_against_data(run.job, len(run.arrays.train_labels)) + memory_problems(run)
    if problems:
        raise compose.ConfigurationError(problems)
    return tuple(plan)


def shared_problems(values: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each key with several values that allows only one per command."""
    problems = []
    for key in rules.SHARED:
        section, _, name = key.rpartition(".")
        found = {rules.to_text((value[section] if section else value)[name]) for value in values}
        if len(found) > 1:
            problems.append(rules.one_value(key, found))
    return problems


def results_problems(paths: Mapping[str, Any]) -> list[str]:
    """Return a line if the folder of results is a store of runs: the command would remove the runs of other sweeps from it."""
    results, runs = paths["results"], store_root(paths["runs"])
    if not results or not ((folder := from_project(results)).resolve() == runs.resolve() or (folder / LEDGER).is_dir()):
        return []
    return [
        f"paths.results={results}: a store of runs, which would lose the runs of other sweeps; expected another folder"
    ]


def memory_problems(run: PlannedRun) -> list[str]:
    """Return a line if the network does not fit the memory: weights, gradients, up to three optimizer slots in float32."""
    needed, memory = run.parameters * 4 * 5, total_memory()
    if needed < memory:
        return []
    line = f"model.hidden={list(run.job.hidden)}: needs about {needed / 2**30:,.1f} GiB while it trains"
    return [f"{line}, this machine has {memory / 2**30:,.1f}; make it narrower"]


def total_memory() -> int:
    """Return the memory of this machine in bytes."""
    return int(psutil.virtual_memory().total)


def from_project(path: str) -> Path:
    """Return `path`, relative to the checkout rather than the working directory."""
    return PROJECT / path


def store_root(path: str) -> Path:
    """Return the folder of runs: that of the checkout, also for an experiment that DVC runs in a temporary clone."""
    return home() / path


def look_up(plan: Plan, store: RunStore, settings: Mapping[str, Any], single: bool) -> Plan:
    """Return each distinct run of the plan with its name and stored result. A `single` run needs its weights too."""
    called = names(run.job for run in plan)
    looked_up = []
    for run in {run.key: run for run in plan}.values():
        found = _stored(run, store)
        status = found.status if found else NEW
        if found and _trained_again(found, settings, single):
            found = None
        # A smaller stack has another key.
        key, made_of = (found.key, found.identity) if found else (run.key, run.identity)
        looked_up.append(replace(run, key=key, identity=made_of, found=status, stored=found, called=called[run.job]))
    return tuple(looked_up)


def _stored(run: PlannedRun, store: RunStore) -> RunResult | None:
    """Return the stored result; None if it is missing, damaged or of a run that a search pruned."""
    for key in _keys(run):
        try:
            result = store.read(key)
        except KeyError:
            continue
        except UnreadableRun as error:
            print(f"warning: {shown_line(str(error))}", flush=True)
            return None
        if result.status == PRUNED:
            return None
        if key == run.key or result.environment.get(ASKED_STACK) == str(run.device.stack):
            return result
    return None


def _trained_again(result: RunResult, settings: Mapping[str, Any], single: bool) -> bool:
    if settings["force"]:
        return True
    if result.finished:
        return single and result.weights is None
    return settings["retry"] in (result.status, "all")


def _keys(run: PlannedRun) -> Iterator[str]:
    """Return the key of a run, then its keys in the smaller stacks that it gets if memory is short."""
    yield run.key
    size = run.device.stack // 2 if run.device.backend == "jax" and run.device.trainer == "engine" else 0
    while size:
        yield identity.key_of(run.job, in_stack(run.identity, size))
        size //= 2


def in_stack(made_of: dict[str, Any], size: int) -> dict[str, Any]:
    """The identity of a run in a stack of another size."""
    return {**made_of, "numerics": {**made_of["numerics"], "stack": size}}


def counts(plan: Plan) -> str:
    """`3 finished, 1 diverged, 2 new`."""
    found = Counter(run.found for run in plan)
    return ", ".join(f"{found[what]} {what}" for what in (FINISHED, FAILED, DIVERGED, NEW) if found[what])


def to_train(plan: Plan) -> Plan:
    """Return the runs to train."""
    return tuple(run for run in plan if run.stored is None)
