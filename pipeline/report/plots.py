"""The pictures of a report: what each shows, its caption and its alternative text. Their numbers are in the files beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import figures, other_tables, pictures, published_figures, style, tables
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND, Evidence
from pipeline.report.figures import Axis, Ends, Line, Looks
from pipeline.report.prose import opening
from pipeline.statistics import summary
from pipeline.statistics.figures import FIGURES

MOST_PANELS = 3
"""Panels side by side: of more widths the narrowest, the widest and those between them."""
MOST_GROUPS = 6
"""Groups of panels to choose from: each panel costs the page about 15 kB."""

Panel = Callable[[list[Axes]], None]
CURVE_LOOKS: Looks = {
    "training": {"color": style.TRAIN, "marker": "", "linestyle": "-"},
    "held out": {"color": style.HELD, "marker": "", "linestyle": (0, (5, 1.4))},
}


@dataclass
class Plot:
    """One picture. `name` is its file's; `groups` are its drawings for the page, of which `shown` is shown first."""

    name: str
    title: str
    caption: str
    png: Callable[[], bytes]
    groups: dict[str, list[str]]
    shown: str = ""


@dataclass
class Network:
    """Pictures of the best network."""

    name: str
    confusion: Plot
    errors: int
    images: int
    hardest: list[pictures.Hard] = field(default_factory=list)
    first_layer: pictures.FirstLayer | None = None


class Comparison:
    """The pictures of one comparison; what its runs do not allow is None."""

    def __init__(self, evidence: Evidence, question: tuple[str, str], looks: Looks) -> None:
        suffix = "" if question == evidence.questions[0] else f"_{_slug('_'.join(question))}"
        table = evidence.question(question)
        best = table[table["n"] > 0]
        cells = tables.cells(best)
        several = cells["width"].nunique() > 1
        self.dumbbells = _dumbbells(best.drop_duplicates("optimizer"), suffix)
        self.gap_accuracy = _by_width(cells, "gap_accuracy", looks, suffix) if several else None
        self.gap_loss = _by_width(cells, "gap_loss", looks, suffix) if several else None
        self.gap_by_loss = _gap_by_training_loss(evidence.gap_by_training_loss, cells, looks, suffix)
        self.held_out_loss = _held_out_loss(evidence.bands[question], cells, looks, suffix)

    def all(self) -> list[Plot]:
        found = [self.dumbbells, self.gap_accuracy, self.gap_loss, self.gap_by_loss, self.held_out_loss]
        return [plot for plot in found if plot]


class Plots:
    """Every picture that these runs allow; what they do not allow is None or empty."""

    def __init__(self, evidence: Evidence, arrays: Arrays | None) -> None:
        with style.styled():
            self.looks = style.look(sorted(set(evidence.runs["optimizer"])))
            self.comparisons = {
                question: Comparison(evidence, question, self.looks) for question in evidence.comparisons
            }
            curves = {question: _learning_curves(evidence, question) for question in evidence.questions}
            book = evidence.book_question if len(curves) > 1 else None
            self.book_curves = curves.get(book) if book else None
            self.curves = [plot for question, plot in curves.items() if plot and question != book]
            self.published = _published(evidence)
            self.baseline = _baseline(evidence)
            self.network = _network(evidence, arrays) if arrays is not None else None

    @property
    def main(self) -> Comparison:
        return next(iter(self.comparisons.values()))

    def all(self) -> list[Plot]:
        found = [plot for comparison in self.comparisons.values() for plot in comparison.all()]
        others = [*self.curves, self.book_curves, self.baseline, self.published]
        return [*found, *(plot for plot in [*others, self.network.confusion if self.network else None] if plot)]

    def files(self) -> dict[str, bytes]:
        """Name of each PNG and its bytes."""
        with style.styled():
            found = {f"{plot.name}.png": plot.png() for plot in self.all()}
            if self.network and self.network.hardest:
                found["hardest_digits.png"] = style.png(figures.digit_sheet(self.network.hardest))
        if self.network and self.network.first_layer:
            found["first_layer.png"] = pictures.enlarged(self.network.first_layer.picture)
        return found


def _panels(
    name: str,
    title: str,
    caption: str,
    alternative: str,
    groups: Mapping[str, Mapping[str, Panel]],
    looks: Looks,
    rows: int = 1,
    shown: str = "",
) -> Plot:
    """A plot of several panels. `groups`: by what a person chooses, each panel's title and the function that draws it."""
    shown = shown or next(iter(groups))
    one = len(groups) == 1 and len(groups[shown]) == 1
    sheet = partial(figures.sheet, rows=rows, wide=5.3 if one else 3.9, beside=0.42 + style.inches(list(looks)))
    drawn = {
        group: [
            style.svg(
                sheet({label: draw}),
                f"{name}-{number}-{place}",
                f"{alternative} Here: {label}." if label else alternative,
            )
            for place, (label, draw) in enumerate(panels.items())
        ]
        for number, (group, panels) in enumerate(groups.items())
    }
    return Plot(name, title, caption, lambda: style.png(sheet(groups[shown])), drawn, shown)


def _single(name: str, title: str, caption: str, alternative: str, figure: Figure) -> Plot:
    """A plot of one drawing."""
    return Plot(name, title, caption, lambda: style.png(figure), {"": [style.svg(figure, name, alternative)]})


def _draw(
    axes: list[Axes],
    lines: Sequence[Sequence[Line]],
    looks: Looks,
    x: Axis,
    y: Sequence[Axis],
    ends: Sequence[Ends],
    span: Ends | None = None,
    band: bool = True,
) -> None:
    """A pair of axes for each of `y`, one above the other."""
    for ax, own, axis, limits in zip(axes, lines, y, ends, strict=True):
        figures.draw_lines(ax, own, looks, x, axis, limits, span=span, band=band)


def _line(rows: pd.DataFrame, name: str, x: str, figure: str, mark: int | None = None) -> Line:
    mean, low, high = (rows[f"{figure}_{part}"].to_numpy(float) for part in ("mean", "low", "high"))
    return Line(name, rows[x].to_numpy(float), mean, low, high, mark)


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text).strip("_")


def _some(items: Sequence[str], most: int, always: str | None = None) -> list[str]:
    """At most `most` of `items`, evenly spread, both ends among them, and `always`."""
    if len(items) <= most:
        return list(items)
    chosen = [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
    return [item for item in items if item in {*chosen, always}]


def _width(row: pd.Series) -> str:
    whole = formatting.layers(row["hidden"])
    return whole.partition(", ")[0] if pd.notna(row["width"]) else whole


def _network_of(row: pd.Series) -> str:
    """What a row of `tables.cells` is besides its optimizer: `width 64, 2,000 images`."""
    return ", ".join(filter(None, [_width(row), row["setting"]]))


# --- accuracies and gaps at the end of training


def _dumbbells(rows: pd.DataFrame, suffix: str) -> Plot:
    held, test = "val_accuracy", " Ring: the test file."
    if rows["val_accuracy_mean"].isna().all():
        held, test = "test_accuracy", " Nothing is held out, so it is the test file."
    ends = {f"held_out_{part}": rows[f"{held}_{part}"] for part in ("mean", "low", "high")}
    rows = rows.assign(label=[opening.configuration(row) for _, row in rows.iterrows()], **ends)
    said = "; ".join(
        f"{row['label']}: {formatting.percent(row['train_accuracy_mean'])} in training, {formatting.percent(row['held_out_mean'])} "
        f"held out, {formatting.percent(row['test_accuracy_mean'])} in the test"
        for _, row in rows.iterrows()
    )
    title = (
        "Each optimizer at its best"
        if len(rows) > 1 and not test.startswith(" N")
        else "Training and held-out accuracy"
    )
    caption = (
        "Diamond: accuracy on the training images; dot: on held-out images, its line the 95 % interval over seeds; the distance "
        f"between them is the gap.{test}"
    )
    return _single(f"gap_at_best_width{suffix}", title, caption, said, figures.dumbbells(rows))


GAPS = {  # figure: title, what it is, axis, digits
    "gap_accuracy": ("The gap in accuracy, by width", "Training minus held-out accuracy", figures.GAP_ACCURACY, 2),
    "gap_loss": ("The gap in loss, by width", "Held-out minus training loss", figures.GAP_LOSS, 3),
}


def _by_width(cells: pd.DataFrame, figure: str, looks: Looks, suffix: str) -> Plot:
    """A line per optimizer over the width, a panel for each other setting."""
    title, kind, axis, digits = GAPS[figure]
    panels = {
        str(setting) or "": [_line(rows, str(name), "width", figure) for name, rows in own.groupby("optimizer")]
        for setting, own in cells.groupby("setting", sort=False)
    }
    ends = figures.limits(axis, panels.values(), 0.35)
    widths = Axis("width, units in each hidden layer", np.log2, tuple(sorted(map(float, set(cells["width"])))))
    draw = {
        setting: partial(_draw, lines=[lines], looks=looks, x=widths, y=[axis], ends=[ends], band=False)
        for setting, lines in panels.items()
    }
    caption = (
        f"{kind} at the end of training. Vertical lines: 95 % intervals over seeds, the longest cut at the frame; points of one "
        "width stand side by side."
    )
    largest, about = cells.sort_values(f"{figure}_mean").iloc[-1], FIGURES[figure]
    size = f"{formatting.number(about.scale * largest[f'{figure}_mean'], digits)} {about.unit}"
    said = f"A line for each optimizer over the width. The largest gap is {size}, of {largest['optimizer']}, {_network_of(largest)}."
    return _panels(f"{figure}_by_width{suffix}", title, caption, said, {"": draw}, looks)


# --- curves


def _grouped(
    cells: pd.DataFrame,
    lines_of: Callable[[pd.Series, str], Sequence[Line] | None],
    looks: Looks,
    x: Axis,
    y: Sequence[Axis],
) -> tuple[dict[str, dict[str, Panel]], Looks]:
    """Panels by width in groups by setting, a line per optimizer; of a single optimizer panels by setting, a line per width.

    `lines_of`: of a row of `cells`, and what its lines are called, a line for each of `y`; None where it has no curve.
    """
    one = cells["optimizer"].nunique() == 1 and cells["width"].nunique() > 1
    if one:
        looks = style.look([_width(row) for _, row in cells.drop_duplicates("hidden").iterrows()])
    found: dict[str, dict[str, list[Sequence[Line]]]] = {}
    for _, row in cells.sort_values(["width", "hidden"], kind="stable").iterrows():
        group, panel = ("", row["setting"] or "") if one else (row["setting"], _width(row))
        lines = lines_of(row, _width(row) if one else row["optimizer"])
        if lines is not None:
            found.setdefault(group, {}).setdefault(panel, []).append(lines)
    if not found:
        return {}, looks
    stacked = {
        group: {panel: list(zip(*panels[panel], strict=True)) for panel in _some(list(panels), MOST_PANELS)}
        for group in [group for group in dict.fromkeys(cells["setting"]) if group in found] or [""]
        for panels in [found[group]]
    }
    every = [stack for panels in stacked.values() for stack in panels.values()]
    ends = [figures.limits(axis, [stack[level] for stack in every]) for level, axis in enumerate(y)]
    places = np.concatenate([x.scale(line.x) for stack in every for line in stack[0]])
    room = 0.03 * float(np.ptp(places))
    span = float(places.min()) - room, float(places.max()) + room
    groups: dict[str, dict[str, Panel]] = {
        group: {
            panel: partial(_draw, lines=stack, looks=looks, x=x, y=y, ends=ends, span=span)
            for panel, stack in stacked[group].items()
        }
        for group in _some(list(stacked), MOST_GROUPS)
    }
    return groups, looks


def _gap_by_training_loss(table: pd.DataFrame, cells: pd.DataFrame, looks: Looks, suffix: str) -> Plot | None:
    table = table[table["experiment"].isin(cells["experiment"])]
    curves = {str(name): own for name, own in table.groupby("configuration", sort=False)}

    def lines_of(row: pd.Series, name: str) -> Sequence[Line] | None:
        own = curves.get(row["configuration"])
        if own is None:
            return None
        return [_line(own, name, "training_loss", figure, len(own) - 1) for figure in ("gap_loss", "gap_accuracy")]

    groups, looks = _grouped(cells, lines_of, looks, figures.TRAINING_LOSS, [figures.GAP_LOSS, figures.GAP_ACCURACY])
    if not groups:
        return None
    ends = [
        (row, curves[row["configuration"]].iloc[-1]) for _, row in cells.iterrows() if row["configuration"] in curves
    ]
    last = "; ".join(
        f"{row['optimizer']}, {_network_of(row)}: {formatting.number(end['gap_loss_mean'], 3)} nats at {end['training_loss']:.3g}"
        for row, end in ends
    )
    caption = (
        "From the first point of the curves on the left to the last on the right: how large the gap is when the training loss has "
        "fallen so far. Above the gap in loss, below in accuracy; mean over seeds, 95 % interval as a band. Where two lines pass the "
        "same training loss, the higher one generalises worse there."
    )
    said = f"The gap against the training loss, which falls to the right. At the ends of the lines: {last}."
    return _panels(f"gap_by_training_loss{suffix}", "The gap at each training loss", caption, said, groups, looks, 2)


def _held_out_loss(bands: pd.DataFrame, cells: pd.DataFrame, looks: Looks, suffix: str) -> Plot | None:
    held = bands[bands["split"].ne("train")].groupby("configuration", sort=False)
    curves = {str(name): own for name, own in held if len(own) > 1}

    def lines_of(row: pd.Series, name: str) -> Sequence[Line] | None:
        own = curves.get(row["configuration"])
        return None if own is None else [_line(own, name, "epoch", "loss", int(own["loss_mean"].to_numpy().argmin()))]

    groups, looks = _grouped(cells, lines_of, looks, figures.EPOCH, [figures.LOSS])
    if not groups:
        return None
    caption = "Mean over seeds, 95 % interval as a band. The marker is the lowest point: what rises after it was trained too long."
    said = "Held-out loss by epoch, the lowest point of each line marked."
    return _panels(f"held_out_loss{suffix}", "Held-out loss by epoch", caption, said, groups, looks)


def _learning_curves(evidence: Evidence, question: tuple[str, str]) -> Plot | None:
    """A panel for each optimizer, in groups by shape and setting: training and held-out loss and accuracy."""
    bands = evidence.bands[question]
    cells = tables.cells(evidence.question(question), "hidden")
    cells = cells[cells["configuration"].isin(bands["configuration"])]
    if cells.empty:
        return None
    lines = {row["configuration"]: _curves(bands, row["configuration"]) for _, row in cells.iterrows()}
    axes = [figures.LOSS, figures.ACCURACY]
    ends = [figures.limits(axis, [own[place] for own in lines.values()]) for place, axis in enumerate(axes)]
    groups: dict[str, dict[str, Panel]] = {}
    for _, row in cells.sort_values(["width", "hidden", "optimizer"], kind="stable").iterrows():
        draw = partial(_draw, lines=lines[row["configuration"]], looks=CURVE_LOOKS, x=figures.EPOCH, y=axes, ends=ends)
        groups.setdefault(_network_of(row), {})[row["optimizer"]] = draw
    shown = _network_of(cells.sort_index().iloc[0])
    held = "held-out samples" if "val" in set(bands["split"]) else "the test file, since nothing is held out"
    samples = {result.job.training.curve_samples for result in evidence.results_of(question)}
    sizes = [f"{size:,}" for size in sorted(samples - {0})]
    part = (
        f" Training curves are measured on the same {formatting.listed(sizes, 'or')} training samples." if sizes else ""
    )
    caption = (
        f"Training and {held}: mean over seeds, 95 % interval as a band.{part} All panels have the same axes; that of accuracy is "
        "stretched towards 100 %, so that halving the errors is the same distance everywhere."
    )
    name = "learning_curves" if question == evidence.questions[0] else f"learning_curves_{_slug('_'.join(question))}"
    said = "Loss and accuracy by epoch, training against held out."
    chosen = {group: groups[group] for group in _some(list(groups), MOST_GROUPS, shown)}
    return _panels(name, f"{question[1]}, on {question[0]}", caption, said, chosen, CURVE_LOOKS, 2, shown)


def _curves(bands: pd.DataFrame, configuration: str) -> list[list[Line]]:
    """Training and held-out lines of loss, and of accuracy."""
    own = bands[bands["configuration"].eq(configuration)]
    splits = {"training": own[own["split"].eq("train")], "held out": own[own["split"].ne("train")]}
    return [[_line(rows, name, "epoch", figure) for name, rows in splits.items()] for figure in ("loss", "accuracy")]


# --- the book's network, published figures, the best network


def _baseline(evidence: Evidence) -> Plot | None:
    book = evidence.book
    if book.empty or book["dataset"].iloc[0] != "mnist":
        return None
    interval = summary.interval(book["test_accuracy"], summary.BOUNDS["test_accuracy"])
    caption = "Every dot is one seed; the diamond is their mean, with its 95 % interval."
    low, high, mean = (
        formatting.percent(x) for x in (book["test_accuracy"].min(), book["test_accuracy"].max(), interval["mean"])
    )
    said = (
        f"Test accuracies of {formatting.plural(len(book), 'seed')} from {low} to {high}, their mean {mean}; the book prints "
        f"{formatting.percent(BOOK_ACCURACY, 1)}; the expected band is {formatting.span(*BOOK_BAND, digits=1)} %."
    )
    figure = figures.baseline(book["test_accuracy"].to_list(), interval)
    return _single("baseline", "Test accuracy against the book's", caption, said, figure)


def _published(evidence: Evidence) -> Plot | None:
    """Ours beside published figures that have a band, as far as there are runs of them."""
    rows = other_tables.bands(evidence)
    if rows is None or rows.empty:
        return None
    shown = rows[published_figures.NUMBERS].sub(rows["published"], axis=0)
    figure = figures.against_published(shown.assign(name=rows["id"].str.replace("_", " ")))
    said = "; ".join(f"{row['source']}: {row['ours']}, {row['verdict']}" for _, row in rows.iterrows()) + "."
    caption = (
        "Dashed line: the published figure. Blue: the band in which ours should lie, open to the right where it is a floor; diamond: "
        "our mean over seeds, with its 95 % interval."
    )
    return _single("published_figures", "Ours against published figures", caption, said, figure)


def _network(evidence: Evidence, arrays: Arrays) -> Network | None:
    result = evidence.winner
    if result is None or result.predictions is None:
        return None
    labels = np.asarray(arrays.test_labels)
    counts = np.zeros((arrays.classes, arrays.classes), dtype=int)
    np.add.at(counts, (labels, result.predictions), 1)
    errors = int((labels != result.predictions).sum())
    wrong = counts - np.diag(np.diag(counts))
    pairs = sorted(
        (-int(wrong[actual, said]), int(actual), int(said)) for actual, said in zip(*np.nonzero(wrong), strict=True)
    )
    worst = formatting.listed([f"{-count} × {actual} taken for {said}" for count, actual, said in pairs[:3]])
    most = f" Most often: {worst}." if worst else ""
    figure = figures.confusion(counts, [str(number) for number in range(arrays.classes)])
    caption = f"Test images by what they show (rows) and what the network says (columns); errors in vermillion.{most}"
    alternative = f"Confusion matrix of {len(labels):,} test images: {formatting.plural(errors, 'error')}.{most}"
    confusion = _single("confusion", "What it takes for what", caption, alternative, figure)
    hardest, first_layer = pictures.hardest(result, arrays), pictures.first_layer(result, arrays)
    return Network(result.name, confusion, errors, len(labels), hardest, first_layer)
