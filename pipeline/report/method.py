"""The methods card: what was done, so that someone else could do it."""

from __future__ import annotations

import re
from typing import Any

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report.evidence import Evidence
from pipeline.statistics import summary
from pipeline.statistics.figures import FIGURES
from pipeline.statistics.verdicts import MOST_SEEDS

LICENCES = {
    "mnist": "MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0.",
    "digits": "Optical Recognition of Handwritten Digits: E. Alpaydin and C. Kaynak, UCI, CC BY 4.0.",
}

GAP = (
    "Accuracy on the training images minus accuracy on the test images, both after the last epoch, with the same fixed "
    "weights in inference mode; in loss, test minus training. Never the running accuracy of the progress bar."
)
CHOICES = "By the mean over seeds of each run's best validation accuracy. The test images choose nothing."
CLAIMS = (
    "Declared before the runs: each optimizer against the best at equal width, each width against the next. Differences are "
    'paired by seed; Holm\'s correction counts every pair the best could have been chosen from. "Overfits more" takes enough '
    "seeds, a corrected p under alpha and a difference over the declared minimum, the same at equal training loss, and must not "
    "go with being better on the test split."
)
INTERVALS = (
    "95 % intervals of the mean over seeds, by Student's t with n − 1 degrees of freedom; a single seed has none. They "
    "speak of other seeds, not of other test images. A place is shared by those whose intervals overlap. Seeds are shared "
    "by all configurations, so a paired test can see more than these intervals do."
)


def card(evidence: Evidence, arrays: Arrays | None) -> list[tuple[str, str]]:
    """Terms and what is to say of each, about the largest comparison."""
    if not evidence.questions:
        return [("Compute", _compute(evidence))]
    main = evidence.main
    dataset = str(main["dataset"].iloc[0])
    runs = evidence.runs[evidence.runs["configuration"].isin(main["configuration"])]
    terms = [
        ("Data", _data(evidence, arrays)),
        ("What varies", "; ".join(_varied(evidence)) + "."),
        ("What is held fixed", ", ".join(_fixed(evidence)) + "."),
        ("Seeds", f"{formatting.ranged(runs['seed'].to_list())}. {_seeds(evidence)}"),
        ("Gap", GAP),
        ("Choices", CHOICES if evidence.chosen_on_validation else "Nothing is held out, so nothing is chosen."),
        ("Intervals", INTERVALS),
        ("Claims", CLAIMS + _seeds_counted(evidence)),
        ("Compute", _compute(evidence)),
        ("Made with", "; ".join(_origin(evidence)) + "."),
        ("Licence of the data", LICENCES.get(dataset, "")),
    ]
    return [(term, text) for term, text in terms if text.strip(".")]


def _seeds_counted(evidence: Evidence) -> str:
    """What "more seeds would decide" and "detectable" mean."""
    declared = evidence.declared
    sizes = [f"{figure.declared(declared.effect_to_find[name])} of {figure.name}" for name, figure in FIGURES.items()]
    return (
        f" Seeds that would decide are counted for a true difference of {formatting.listed(sizes, 'or')} to be claimed, and for none "
        f"at all to be shown as equivalent, each in {declared.power:.0%} of cases; what lies between may stay undecided. A "
        f"contrast that would take more than {MOST_SEEDS:,} seeds more is not decidable by seeds. "
        "Detectable is the smallest true difference that the seeds of a contrast claim as often, at the first and strictest "
        "step of Holm's correction; of a gap it is the difference alone."
    )


def _data(evidence: Evidence, arrays: Arrays | None) -> str:
    sizes = sorted({job.dataset.validation_size for job in _jobs(evidence)} - {0})
    held = formatting.listed([f"{size:,}" for size in sizes])
    split = (
        f"The last {held} training images are held out for validation."
        if held
        else "Nothing is held out for validation."
    )
    name = evidence.main["dataset"].iloc[0]
    if arrays is None:
        return f"{name}. {split}"
    return f"{name}: {len(arrays.train_images):,} training and {len(arrays.test_images):,} test images. {split}"


def _jobs(evidence: Evidence) -> list[Any]:
    configurations = set(evidence.main["configuration"])
    return [result.job for result in evidence.results if result.job.configuration in configurations]


def _varied(evidence: Evidence) -> list[str]:
    main = evidence.main
    optimizers, shapes = sorted(set(main["optimizer"])), sorted(set(main["hidden"]), key=_by_size)
    told = [
        f"{formatting.plural(len(optimizers), 'optimizer')} ({formatting.listed(optimizers)})",
        f"{formatting.plural(len(shapes), 'shape')} of the hidden layers ({formatting.listed(shapes)})",
    ]
    for column in summary.dotted_columns(main):
        values = sorted({_value(value) for value in main[column].dropna()})
        told += [f"{column} ({formatting.listed(values)})"] if len(values) > 1 else []
    return told


def _fixed(evidence: Evidence) -> list[str]:
    jobs = _jobs(evidence)
    varied = set(summary.varying(jobs))
    fixed = {name: value for name, value in summary.hyperparameters(jobs[0]).items() if name not in varied}
    return [f"{name} {_value(value)}" for name, value in fixed.items() if not name.startswith("optimizer.")]


def _seeds(evidence: Evidence) -> str:
    return (
        "A seed decides the initial weights and the order of the batches, the same for every optimizer. "
        f"Below {evidence.declared.seeds_to_explore} seeds a comparison is a smoke test, "
        f"{evidence.declared.seeds_to_confirm} confirm."
    )


def _compute(evidence: Evidence) -> str:
    runs = formatting.plural(evidence.runs["key"].nunique(), "run")
    return (
        f"{evidence.seconds:,.0f} s of training in {runs}: each run's own time, also of runs that trained side by side."
    )


def _by_size(hidden: str) -> tuple[int, ...]:
    return tuple(int(width) for width in hidden.split("x")) if hidden != "none" else ()


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _origin(evidence: Evidence) -> list[str]:
    """What the runs were made from and on: each value once, three of a kind at most."""
    found: dict[str, dict[str, None]] = {}
    for result in evidence.results:
        if result.finished:
            identity = result.identity
            digests = {name: str(identity.get(name, "")) for name in ("data", "source")}
            for name, value in {**digests, **identity.get("numerics", {}), **result.environment}.items():
                found.setdefault(name, {})[_short(_value(value))] = None
    return [
        f"{name.replace('_', ' ')} {' / '.join(list(values)[:3])}{' / …' if len(values) > 3 else ''}"
        for name, values in found.items()
        if any(values)
    ]


def _short(text: str) -> str:
    """Digests by their first letters; a program by the command that starts it, wherever the checkout lies."""
    text = re.sub(r"\b[0-9a-f]{40,}\b", lambda match: match[0][:12], text)
    return re.sub(r"^.*?/pipeline/(\w+)\.py", r"python -m pipeline.\1", text)
