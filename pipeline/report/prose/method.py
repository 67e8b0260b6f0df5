"""What was done, so that someone else could do it, and what it is held against."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.formatting import listed, percent, plural, points, ranged, span
from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Arrays
from pipeline.report.evidence import Evidence
from pipeline.statistics import summary
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.design import setting
from pipeline.statistics.metrics import METRICS

LICENCES = {
    "mnist": "MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0.",
    "digits": "Optical Recognition of Handwritten Digits: E. Alpaydin and C. Kaynak, UCI, CC BY 4.0.",
}
BOOK_ACCURACY, BOOK_BAND = 0.978, (0.972, 0.984)
"""Test accuracy that the book prints, and the band in which each seed of its network should lie."""


def card(evidence: Evidence) -> list[tuple[str, str]]:
    """Terms and what is to say of each, about the largest comparison."""
    runs = plural(evidence.runs["key"].nunique(), "run")
    compute = (
        f"{evidence.seconds:,.0f} s of training in {runs}: each run's own time, also of runs that trained side by side."
    )
    if not evidence.questions:
        return [("Compute", compute)]
    dataset = evidence.questions[0][0]
    jobs = [result.job for result in evidence.results_of(evidence.questions[0])]
    return [
        ("Data", _data(dataset, jobs, evidence.arrays)),
        ("What is held fixed", ", ".join(_fixed(jobs)) + "."),
        ("Seeds", f"{ranged([job.seed for job in jobs])}."),
        ("Claims", _claims(evidence)),
        ("Compute", compute),
    ]


def _claims(evidence: Evidence) -> str:
    declared = evidence.declared
    margins = [f"{about.declared(declared.margin[name])} of {about.name}" for name, about in METRICS.items()]
    return (
        "Declared in conf/comparison.yaml before the runs: what each value is held against, and the margins "
        f"({listed(margins)}). Differences are paired by seed (paired t, Holm over the contrasts of one factor). "
        f"One is claimed with p under {declared.alpha:g} and a mean difference over the margin, at the first {declared.seeds_to_explore} "
        f"seeds (explored) or the first {declared.seeds_to_confirm} (confirmed), at no other number. Equivalent: two one-sided tests "
        "within the margin."
    )


def _data(dataset: str, jobs: Sequence[RunConfig], arrays: Arrays | None) -> str:
    what = arrays.what if arrays else "samples"
    sizes = f": {len(arrays.train_images):,} training and {len(arrays.test_images):,} test {what}" if arrays else ""
    splits = {(job.dataset.validation_size, job.dataset.validation, job.dataset.validation_seed) for job in jobs}
    held = [f"{size:,} training {what} ({how}, seed {seed})" for size, how, seed in sorted(splits) if size]
    held_out = f"held out for validation: {listed(held) or 'nothing'}"
    return f"{dataset}{sizes}; {held_out}. {LICENCES.get(dataset, '')}"


def _fixed(jobs: Sequence[RunConfig]) -> list[str]:
    varied = set(summary.varying(jobs))
    values = {name: own for name, own in summary.hyperparameters(jobs[0]).items() if own not in (None, ())}
    return [
        setting(name, own) for name, own in values.items() if not name.startswith("optimizer.") and name not in varied
    ]


def book(evidence: Evidence) -> str:
    """The book's network here against what the book prints; empty where nobody trained it."""
    runs = evidence.book
    if runs.empty:
        return ""
    dataset, found = runs["dataset"].iloc[0], summary.interval(runs["test_accuracy"], summary.BOUNDS["test_accuracy"])
    ends = f" (95 % interval {span(found['low'], found['high'])})" if len(runs) > 1 else ""
    ours = f"**{percent(found['mean'])}**{ends}"
    gap, printed = points(runs["book_gap_accuracy"].mean()), percent(BOOK_ACCURACY, 1)
    which = (
        "784 → 512 relu → 10 softmax, rmsprop, 5 epochs, batches of 128, on all training samples: the first network of Chollet, "
        "Deep Learning with Python, chapter 2.1."
    )
    if dataset != "mnist":
        against = f"The book’s {printed} is for MNIST and cannot be held against this."
        return f"{which} On {dataset} it comes to {ours} with a gap of {gap}. {against}"
    inside, band = int(runs["test_accuracy"].between(*BOOK_BAND).sum()), span(*BOOK_BAND, digits=1)
    return (
        f"{which} It prints {printed} test accuracy, of one run. Here {plural(len(runs), 'seed')} come to {ours}; {inside} of {len(runs)} "
        f"lie in the expected band, {band} %. Its gap against the test file, as in the book, is {gap}."
    )


def split_offset(analysis: Analysis) -> str:
    """How much harder the test file is than held-out samples of the training file, for the same networks."""
    offsets = analysis.configurations["split_offset_mean"].dropna()
    if offsets.empty:
        return ""
    word, less = ("harder", "less") if offsets.mean() > 0 else ("easier", "more")
    over = f"mean of {plural(len(offsets), 'configuration')}, {span(offsets.min(), offsets.max())}"
    return (
        f"The test file is {word} than held-out samples of the training file: the same networks are "
        f"{points(abs(offsets.mean()))} {less} accurate on it ({over}). So gaps are against held-out samples; those against the "
        "test file, as in the book, are book_gap in comparison.csv."
    )
