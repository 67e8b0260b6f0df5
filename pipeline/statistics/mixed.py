"""Runs of several origins: what of their data, code and machines is not the same, and what that means for a comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.results.result import Result

DECIDES_NUMBERS = {"data": "data", "source": "training code", "numerics": "devices or precisions"}
"""Parts of a run's identity besides its Job, in words. Runs that differ in one are no pair, though they share a seed."""

ENVIRONMENT = ("python", "tensorflow", "jax", "keras", "numpy", "lock", "cpu")
"""What of a run's environment a comparison should share."""


def origin(result: Result, *parts: str) -> str:
    """What decided the run's numbers besides its Job, as a text; of all parts where none is named."""
    return json.dumps([result.identity.get(part) for part in parts or DECIDES_NUMBERS], sort_keys=True)


def sentences(results: Sequence[Result], who: str) -> list[str]:
    """A sentence for each thing that the finished ones of these runs do not share. `who`: `The runs of sweep on mnist`."""
    finished = [result for result in results if result.finished]
    said = [
        f"{who} come from different {words}: a mean is over all of them, and only runs that share it are paired."
        for part, words in DECIDES_NUMBERS.items()
        if len({origin(result, part) for result in finished}) > 1
    ]
    apart = different_environments([result.environment for result in finished])
    return [*said, f"{who} come from {apart}."] if apart else said


def different_environments(environments: Sequence[Mapping[str, str]]) -> str:
    """In words, what of their machines and libraries is not the same for all runs; empty where all is."""
    classes = Counter(known.get("numerics_class", "unknown") for known in environments)
    if len(classes) > 1:
        shown = ", ".join(f"{count} of {name[:8]}" for name, count in classes.most_common())
        return f"machines that compute differently ({len(classes)} numerics classes: {shown}): their bits are not comparable"
    parts = [name for name in ENVIRONMENT if len({known.get(name) for known in environments}) > 1]
    if not parts:
        return ""
    told = []
    for name in parts:
        values = sorted({str(known.get(name, "unknown")) for known in environments})
        told.append(f"{name.replace('lock', 'requirements.lock')} {' and '.join(value[:16] for value in values[:3])}")
    return f"different environments ({'; '.join(told)}), which compute alike as far as is known"
