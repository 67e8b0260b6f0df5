"""The methods card: what was done, so that someone else could do it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipeline.cli import formatting
from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Arrays
from pipeline.report.evidence import Evidence
from pipeline.statistics import summary
from pipeline.statistics.figures import FIGURES

LICENCES = {
    "mnist": "MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0.",
    "digits": "Optical Recognition of Handwritten Digits: E. Alpaydin and C. Kaynak, UCI, CC BY 4.0.",
}
SEEDS = "A seed decides the initial weights and the order of the batches, the same for every optimizer."
GAP = (
    "Training minus held-out accuracy, and held-out minus training loss, at the end of training, with the same fixed weights in "
    "inference mode; never the running accuracy of the progress bar. A network trained on neither split shows no gap."
)
FIT = (
    "Curves are read where the training loss first falls to a given value, between two points by the logarithm of that loss. There both "
    "networks fit equally well, and the one with the larger gap generalises worse."
)
CHOICES = (
    "By the mean over seeds of validation accuracy, or what `rank` names, with the final weights. The test file chooses nothing; "
    "without held-out samples nothing is chosen."
)
INTERVALS = (
    "95 %, of the mean over seeds, by Student's t. They speak of other seeds on the samples that there are; the table of single "
    "configurations has intervals over seeds and samples too. Places are shared by those whose intervals overlap."
)


def card(evidence: Evidence, arrays: Arrays | None) -> list[tuple[str, str]]:
    """Terms and what is to say of each, about the largest comparison."""
    runs = formatting.plural(evidence.runs["key"].nunique(), "run")
    compute = (
        f"{evidence.seconds:,.0f} s of training in {runs}: each run's own time, also of runs that trained side by side."
    )
    if not evidence.questions:
        return [("Compute", compute)]
    dataset = evidence.questions[0][0]
    jobs = [result.job for result in evidence.results_of(evidence.questions[0])]
    return [
        ("Data", _data(dataset, jobs, arrays)),
        ("What is held fixed", ", ".join(_fixed(jobs)) + "."),
        ("Seeds", f"{formatting.ranged([job.seed for job in jobs])}. {SEEDS}"),
        ("Gap", GAP),
        ("Equal training loss", FIT),
        ("Choices", CHOICES),
        ("Intervals", INTERVALS),
        ("Claims", _claims(evidence)),
        ("Compute", compute),
        ("Made with", f"{_origin(evidence)}."),
    ]


def _claims(evidence: Evidence) -> str:
    declared = evidence.declared
    margins = [f"{about.declared(declared.margin[name])} of {about.name}" for name, about in FIGURES.items()]
    return (
        "Declared in conf/comparison.yaml before the runs: what each value is held against, and the margins "
        f"({formatting.listed(margins)}). Differences are paired by seed (paired t, Holm over the contrasts of one factor). "
        f"One is claimed with p under {declared.alpha:g} and a mean difference over the margin, at the first {declared.seeds_to_explore} "
        f"seeds (explored) or the first {declared.seeds_to_confirm} (confirmed), at no other number. Equivalent: two one-sided tests "
        f"within the margin. Detectable: the smallest true difference that is claimed in {declared.power:.0%} of cases."
    )


def _data(dataset: str, jobs: Sequence[RunConfig], arrays: Arrays | None) -> str:
    sizes = (
        f": {len(arrays.train_images):,} training and {len(arrays.test_images):,} test {arrays.what}" if arrays else ""
    )
    what = arrays.what if arrays else "samples"
    splits = {(job.dataset.validation_size, job.dataset.validation, job.dataset.validation_seed) for job in jobs}
    held = [f"{size:,} training {what} ({how}, seed {seed})" for size, how, seed in sorted(splits) if size]
    held_out = f"held out for validation: {formatting.listed(held) or 'nothing'}"
    return f"{dataset}{sizes}; {held_out}. {LICENCES.get(dataset, '')}"


def _fixed(jobs: Sequence[RunConfig]) -> list[str]:
    varied = set(summary.varying(jobs))
    fixed = {name: value for name, value in summary.hyperparameters(jobs[0]).items() if name not in varied}
    return [f"{name} {_value(value)}" for name, value in fixed.items() if not name.startswith("optimizer.")]


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _origin(evidence: Evidence) -> str:
    """What the first run was made from and on; where others differ, the page says so."""
    result = next(result for result in evidence.results if result.finished)
    made_of = {name: result.identity.get(name, "") for name in ("data", "source")}
    values = {**made_of, **result.identity.get("numerics", {}), **result.environment}
    text = "; ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in values.items() if value != "")
    # Digests by their first letters; a program by the command that starts it, wherever the checkout lies.
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b", r"\1", text)
    return re.sub(r"\S*/pipeline/(\w+)\.py", r"python -m pipeline.\1", text)
