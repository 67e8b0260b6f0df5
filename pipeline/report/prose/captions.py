"""Captions of the page's charts and tables, and its glossary."""

from __future__ import annotations

CAPTIONS = {
    "gap": "The gap at the end of training, with its 95 % interval over seeds.",
    "gap_by_training_loss": "The loss gap against the training loss. At equal training loss, the higher line generalises worse.",
    "held_out_loss": "The held-out loss by epoch. A circle marks the lowest point; a line that rises after it was trained too long.",
    "explorer": "Drag over the cells to select runs. Click a run to see its curves, or the legend to select an optimizer.",
    "confusion": "{errors} on {samples:,} test {what}.",
    "hardest_digits": "The test images with the lowest probability for their label: label → prediction, with its probability.",
}
"""By the name of the chart's files."""

ALTERNATIVES = {
    "gap": "The largest gap is {points} points, for {label}.",
    "gap_by_training_loss": "The loss gap against the training loss, which falls to the right.",
    "held_out_loss": "Held-out loss by epoch, with the lowest point of each line marked.",
    "explorer": "The mean gap by network and optimizer, the runs by accuracy and gap, and the curves of {name}.",
    "confusion": "Confusion matrix: {errors} on {samples:,} test {what}.",
    "hardest_digits": "{digits}",
}
"""Alternative texts of the charts, for screen readers."""

OVER_SEEDS = "95 % intervals are over seeds, for these samples."
CONTRASTS = f"A minus B, paired by seed; p-values with Holm’s correction over the contrasts of one factor. {OVER_SEEDS}"
LEVELS = f"In nats, where a curve first falls to that training loss. {OVER_SEEDS}"
INTERVALS = (
    "In %, gaps in points. 95 % intervals are over seeds and samples, so they hold for new samples of the same kind."
)

GLOSSARY = {
    r"nats?": "The unit of cross-entropy with the natural logarithm: a loss of 0.1 nats means that the right class gets a "
    "probability of about 90 %, in the geometric mean.",
    r"contrasts?": "Two configurations that differ in exactly one value, compared seed by seed, as declared in conf/comparison.yaml.",
    r"95 % intervals?": "Would contain the true mean in 95 of 100 repetitions with other seeds.",
    r"held[ -]out": "A random sample of the training file that no network is trained on.",
    r"explored": "Based on 10 seeds.",
    r"confirmed": "Based on 30 seeds.",
}
"""Tooltips: a regular expression for the term, and its meaning."""
