"""The method section: data, fixed values, seeds, claims, the book's network."""

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
"""Test accuracy printed in the book, and the band in which each seed of its network should lie."""


def card(evidence: Evidence) -> list[tuple[str, str]]:
    """Terms and descriptions of the method, for the largest comparison."""
    runs = plural(evidence.runs["key"].nunique(), "run")
    compute = f"{evidence.seconds:,.0f} s of training in {runs}: the sum over runs, although some trained in parallel."
    if not evidence.questions:
        return [("Compute", compute)]
    dataset = evidence.questions[0][0]
    jobs = [result.job for result in evidence.results_of(evidence.questions[0])]
    return [
        ("Data", _data(dataset, jobs, evidence.arrays)),
        ("Fixed values", ", ".join(_fixed(jobs)) + "."),
        ("Seeds", f"{ranged([job.seed for job in jobs])}."),
        ("Claims", _claims(evidence)),
        ("Compute", compute),
    ]


def _claims(evidence: Evidence) -> str:
    declared = evidence.declared
    margins = [f"{about.declared(declared.margin[name])} of {about.name}" for name, about in METRICS.items()]
    return (
        "conf/comparison.yaml declares, before any run, the reference of each factor and the margins "
        f"({listed(margins)}). Differences are paired by seed (paired t test, Holm’s correction over the contrasts of one factor). "
        f"A difference is claimed if p is under {declared.alpha:g} and the mean difference exceeds the margin, with the first "
        f"{declared.seeds_to_explore} seeds (explored) or the first {declared.seeds_to_confirm} (confirmed) and no other number. "
        "Two configurations are equivalent if two one-sided tests show a difference within the margin."
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
    """The book's network here and in the book; empty if it was not trained."""
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
        against = f"The book’s {printed} is for MNIST and cannot be compared."
        return f"{which} On {dataset} it reaches {ours} with a gap of {gap}. {against}"
    inside, band = int(runs["test_accuracy"].between(*BOOK_BAND).sum()), span(*BOOK_BAND, digits=1)
    return (
        f"{which} The book prints {printed} test accuracy for one run. Here the mean of {plural(len(runs), 'seed')} is {ours}; {inside} of "
        f"{len(runs)} lie in the expected band, {band} %. The gap against the test file, as in the book, is {gap}."
    )


def split_offset(analysis: Analysis) -> str:
    """How much harder the test file is than held-out samples of the training file."""
    offsets = analysis.configurations["split_offset_mean"].dropna()
    if offsets.empty:
        return ""
    word, less = ("harder", "less") if offsets.mean() > 0 else ("easier", "more")
    over = f"mean of {plural(len(offsets), 'configuration')}, {span(offsets.min(), offsets.max())}"
    return (
        f"The test file is {word} than held-out samples of the training file: the same networks are "
        f"{points(abs(offsets.mean()))} {less} accurate on it ({over}). So gaps are against held-out samples; gaps against the "
        "test file, as in the book, are the book_gap columns of comparison.csv."
    )
