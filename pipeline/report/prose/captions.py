"""What stands under the charts of the page and over its tables, and what its words mean."""

from __future__ import annotations

CAPTIONS = {
    "gap": "The gap at the end of training, with its 95 % interval over seeds.",
    "gap_by_training_loss": "The gap when the training loss has fallen so far: of two lines at one place the higher one "
    "generalises worse.",
    "held_out_loss": "The held-out loss by epoch. The circle is its lowest point: what rises after it was trained too long.",
    "explorer": "Drag over the cells to pick runs, click on a run to see its curves, on the legend to pick an optimizer.",
    "confusion": "{errors} on {samples:,} test {what}.",
    "hardest_digits": "The test images whose label the network believes least: the label → what it says, and how sure it is.",
}
"""Of each chart, by the name of its files."""

ALTERNATIVES = {
    "gap": "The largest gap is {points} points, of {label}.",
    "gap_by_training_loss": "The gap in loss against the training loss, which falls to the right.",
    "held_out_loss": "Held-out loss by epoch, the lowest point of each line marked.",
    "explorer": "The mean gap by network and optimizer, the runs by accuracy and gap, and the curves of {name}.",
    "confusion": "What the network takes for what: {errors} on {samples:,} test {what}.",
    "hardest_digits": "{digits}",
}
"""For a reader who does not see the chart."""

OVER_SEEDS = "Intervals: 95 %, over seeds, on the samples that there are."
CONTRASTS = f"A minus B, paired by seed; p corrected by Holm over the contrasts of one factor. {OVER_SEEDS}"
LEVELS = f"In nats, where a curve first falls to that training loss. {OVER_SEEDS}"
INTERVALS = "In %, gaps in points. Intervals: 95 %, over seeds and samples, as for a statement about other samples of the same kind."

GLOSSARY = {
    r"nats?": "The unit of cross-entropy with the natural logarithm: a loss of 0.1 nats means that the right class gets a "
    "probability of about 90 %, in the geometric mean.",
    r"contrasts?": "Two configurations that differ in one value only, compared seed by seed; which ones was declared beforehand.",
    r"95 % intervals?": "Would hold the true mean in 95 of 100 repetitions with other seeds.",
    r"held[ -]out": "A random sample of the training file that no network is trained on.",
    r"explored": "10 seeds: worth a closer look.",
    r"confirmed": "30 seeds.",
}
"""What is explained when a reader points at it: the word as a regular expression, and what it means."""
