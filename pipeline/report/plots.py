"""The pictures of a report: what each shows, its caption, its alternative text and the numbers behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import figures, other_tables, pictures, style, tables
from pipeline.report.evidence import Evidence
from pipeline.report.figures import Axis, Line
from pipeline.report.prose import opening
from pipeline.statistics import summary

MOST_PANELS = 3
"""Panels side by side: of more widths the narrowest, the widest and those between them."""
MOST_GROUPS = 6
"""Groups of panels to choose from: each panel costs the page about 15 kB."""

Panel = Callable[[list[Axes]], None]
CURVE_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "training": {"color": style.TRAIN, "marker": "", "linestyle": "-"},
    "held out": {"color": style.HELD, "marker": "", "linestyle": (0, (5, 1.4))},
}


@dataclass
class Plot:
    """One picture. `name` is its file's; `groups` are what the page shows, the one called `shown` first; `table` is the same in
    numbers."""

    name: str
    title: str
    caption: str
    alternative: str
    table: pd.DataFrame
    png: Callable[[], bytes]
    groups: dict[str, list[str]]
    legend: str = ""
    """What tells the groups apart."""
    shown: str = ""


@dataclass
class Network:
    """Pictures of the best network."""

    name: str
    confusion: Plot
    errors: int
    images: int
    hardest: list[pictures.Hard] = field(default_factory=list)
    hardest_png: Callable[[], bytes] | None = None
    weights: np.ndarray | None = None
    units: int = 0
    units_shown: int = 0


class Plots:
    """Every picture that these runs allow; what they do not allow is None or empty."""

    def __init__(self, evidence: Evidence, arrays: Arrays | None) -> None:
        with style.styled():
            self.looks = style.look(sorted(set(evidence.runs["optimizer"])))
            best = evidence.main[evidence.main["n"] > 0].sort_index()
            cells = tables.cells(best)
            self.dumbbells = _dumbbells(best.drop_duplicates("optimizer"), evidence)
            several = cells["width"].nunique() > 1
            self.gap_accuracy = _by_width(cells, "gap_accuracy", self.looks) if several else None
            self.gap_loss = _by_width(cells, "gap_loss", self.looks) if several else None
            self.gap_by_loss = _gap_by_training_loss(evidence, cells, self.looks)
            self.held_out_loss = _held_out_loss(evidence, cells, self.looks)
            curves = {question: _learning_curves(evidence, question) for question in evidence.questions}
            book = evidence.book_question if len(curves) > 1 else None
            self.book_curves = curves.get(book) if book else None
            self.curves = [plot for question, plot in curves.items() if plot and question != book]
            self.published = _published(evidence)
            self.baseline = _baseline(evidence)
            self.network = _network(evidence, arrays) if arrays is not None else None

    def all(self) -> list[Plot]:
        found = [self.dumbbells, self.gap_accuracy, self.gap_loss, self.gap_by_loss, self.held_out_loss]
        found += [*self.curves, self.book_curves, self.baseline, self.published]
        return [plot for plot in [*found, self.network.confusion if self.network else None] if plot]

    def files(self) -> dict[str, bytes]:
        """Name of each PNG and its bytes."""
        drawings = {plot.name: plot.png for plot in self.all()}
        if self.network and self.network.hardest_png:
            drawings["hardest_digits"] = self.network.hardest_png
        if self.network and self.network.weights is not None:
            atlas = pictures.on_white(self.network.weights)
            drawings["first_layer"] = lambda: pictures.png(pictures.enlarged(atlas, pictures.enlargement(len(atlas))))
        with style.styled():
            return {f"{name}.png": draw() for name, draw in drawings.items()}


def _plot(figure: Figure, name: str, title: str, caption: str, alternative: str, table: pd.DataFrame) -> Plot:
    groups = {"": [style.svg(figure, name, alternative)]}
    return Plot(name, title, caption, alternative, table, lambda: style.png(figure), groups)


def _panels(
    name: str,
    title: str,
    caption: str,
    alternative: str,
    table: pd.DataFrame,
    groups: Mapping[str, Mapping[str, Panel]],
    names: Sequence[str],
    rows: int = 1,
    legend: str = "",
    shown: str = "",
) -> Plot:
    """A plot of several panels. `groups`: by what a person chooses, each panel's title and the function that draws it."""
    shown = shown or next(iter(groups))
    beside = 0.42 + style.inches(names)
    drawn = {
        group: [
            style.svg(
                figures.sheet({label: draw}, rows, beside=beside),
                f"{name}-{_slug(group)}-{number}",
                f"{title}: {label}",
            )
            for number, (label, draw) in enumerate(panels.items())
        ]
        for group, panels in groups.items()
    }
    sheet = partial(figures.sheet, groups[shown], rows, beside=beside)
    return Plot(name, title, caption, alternative, table, lambda: style.png(sheet()), drawn, legend, shown)


def _percent(values: pd.Series) -> list[str]:
    return [formatting.number(100 * value) for value in values]


def _span(table: pd.DataFrame, figure: str, scale: float = 100, digits: int = 2) -> list[str]:
    pairs = zip(table[f"{figure}_low"], table[f"{figure}_high"], strict=True)
    return [formatting.span(low, high, scale, digits) or "–" for low, high in pairs]


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text).strip("_")


def _some(items: Sequence[Any], most: int, always: Any = None) -> list[Any]:
    """At most `most` of `items`, evenly spread, both ends among them, and `always`."""
    if len(items) <= most:
        return list(items)
    chosen = {items[round(place)] for place in np.linspace(0, len(items) - 1, most)}
    if always is not None and always not in chosen:
        chosen = {*sorted(chosen, key=items.index)[: most - 1], always}
    return sorted(chosen, key=items.index)


def _dumbbells(rows: pd.DataFrame, evidence: Evidence) -> Plot:
    held = "val_accuracy" if evidence.chosen_on_validation else "test_accuracy"
    ends = {f"held_out_{part}": rows[f"{held}_{part}"] for part in ("mean", "low", "high")}
    rows = rows.assign(label=[opening.configuration(row) for _, row in rows.iterrows()], **ends)
    table = pd.DataFrame(
        {
            "configuration": rows["label"].to_list(),
            "seeds": rows["n"].to_list(),
            "training, %": _percent(rows["train_accuracy_mean"]),
            "held out, %": _percent(rows["held_out_mean"]),
            "held out, 95 % interval": _span(rows, "held_out"),
            "gap, points": _percent(rows["gap_accuracy_mean"]),
            "test, %": _percent(rows["test_accuracy_mean"]),
        }
    )
    said = "; ".join(
        f"{row['configuration']}: {row['training, %']} % in training, {row['held out, %']} % held out, {row['test, %']} % in the test"
        for _, row in table.iterrows()
    )
    several = len(rows) > 1
    title = (
        "Each optimizer at its best" if several and evidence.chosen_on_validation else "Training and held-out accuracy"
    )
    caption = (
        "Diamond: accuracy on the training images; dot: on held-out images, its line the 95 % interval over seeds; the distance "
        "between them is the gap. Ring: the test file."
    )
    if not evidence.chosen_on_validation:
        caption = caption.replace("on held-out images", "on the test file, since nothing is held out").replace(
            " Ring: the test file.", ""
        )
    return _plot(figures.dumbbells(rows), "gap_at_best_width", title, caption, said + ".", table)


GAPS = {  # figure: title, axis, unit, scale, digits
    "gap_accuracy": ("The gap in accuracy, by width", figures.GAP_ACCURACY, "points", 100, 2),
    "gap_loss": ("The gap in loss, by width", figures.GAP_LOSS, "nats", 1, 3),
}


def _by_width(cells: pd.DataFrame, figure: str, looks: figures.Looks) -> Plot:
    """A line per optimizer over the width, a panel for each other setting."""
    title, axis, unit, scale, digits = GAPS[figure]
    settings = list(dict.fromkeys(cells["setting"]))
    panels = {
        setting: [_line(rows, str(name), "width", figure) for name, rows in own.groupby("optimizer")]
        for setting in settings
        for own in [cells[cells["setting"].eq(setting)]]
    }
    ends = figures.limits(axis, panels.values(), 0.35)
    widths = Axis("width, units in each hidden layer", np.log2, tuple(sorted(map(float, set(cells["width"])))))
    draw = {
        setting or " ": partial(_draw, lines=[lines], looks=looks, x=widths, y=[axis], ends=[ends], band=False)
        for setting, lines in panels.items()
    }
    shown = {"setting": cells["setting"].to_list()} if len(settings) > 1 else {}
    table = pd.DataFrame(
        {
            "optimizer": cells["optimizer"].to_list(),
            "width": cells["width"].to_list(),
            **shown,
            "seeds": cells["n"].to_list(),
            f"gap, {unit}": [formatting.number(scale * value, digits) for value in cells[f"{figure}_mean"]],
            "95 % interval": _span(cells, figure, scale, digits),
        }
    )
    kind = "Training minus held-out accuracy" if figure == "gap_accuracy" else "Held-out minus training loss"
    caption = (
        f"{kind} at the end of training. Vertical lines: 95 % intervals over seeds, the longest cut at the frame; points of one "
        "width stand side by side."
    )
    largest = cells.sort_values(f"{figure}_mean").iloc[-1]
    said = (
        f"A line for each optimizer over the width. The largest gap is {formatting.number(scale * largest[f'{figure}_mean'], digits)} "
        f"{unit}, of {largest['optimizer']} at width {largest['width']}."
    )
    name = f"{figure}_by_width"
    if len(panels) == 1:
        figure_drawn = figures.sheet(draw, columns=1, wide=5.3, beside=0.42 + style.inches(list(looks)))
        return _plot(figure_drawn, name, title, caption, said, table)
    return _panels(name, title, caption, said, table, {"": draw}, list(looks))


def _line(rows: pd.DataFrame, name: str, x: str, figure: str, mark: int | None = None) -> Line:
    mean, low, high = (rows[f"{figure}_{part}"].to_numpy(float) for part in ("mean", "low", "high"))
    return Line(name, rows[x].to_numpy(float), mean, low, high, mark)


def _draw(
    axes: list[Axes],
    lines: Sequence[Sequence[Line]],
    looks: figures.Looks,
    x: Axis,
    y: Sequence[Axis],
    ends: Sequence[tuple[float, float]],
    span: tuple[float, float] | None = None,
    band: bool = True,
) -> None:
    """A pair of axes for each of `y`, one above the other."""
    for ax, own, axis, limits in zip(axes, lines, y, ends, strict=True):
        figures.draw_lines(ax, own, looks, x, axis, limits, span=span, band=band)


def _grouped(
    cells: pd.DataFrame,
    lines_of: Callable[[pd.Series, str], Sequence[Line] | None],
    looks: figures.Looks,
    x: Axis,
    y: Sequence[Axis],
) -> dict[str, dict[str, Panel]]:
    """Panels by width in groups by setting, a line per optimizer; of a single optimizer panels by setting, a line per width.

    `lines_of`: of a row of `cells`, and what its lines are called, a line for each of `y`; None where it has no curve.
    """
    one = cells["optimizer"].nunique() == 1 and cells["width"].nunique() > 1
    if one:
        looks = style.look([_width(row) for _, row in cells.drop_duplicates("hidden").iterrows()])
    widths = list(dict.fromkeys(cells.sort_values(["width", "hidden"])["hidden"]))
    found: dict[tuple[str, str], list[Sequence[Line]]] = {}
    for _, row in cells.iterrows():
        panel = ("", row["setting"] or " ") if one else (row["setting"], _width(row))
        lines = lines_of(row, _width(row) if one else row["optimizer"])
        if lines is not None:
            found.setdefault(panel, []).append(lines)
    if not found:
        return {}
    stacked = {place: list(zip(*lines, strict=True)) for place, lines in found.items()}
    ends = [figures.limits(axis, [lines[level] for lines in stacked.values()]) for level, axis in enumerate(y)]
    places = [x.scale(line.x) for lines in stacked.values() for line in lines[0]]
    first, last = float(min(map(np.min, places))), float(max(map(np.max, places)))
    span = first - 0.03 * (last - first), last + 0.03 * (last - first)
    groups: dict[str, dict[str, Panel]] = {}
    for (group, name), stack in stacked.items():
        draw = partial(_draw, lines=stack, looks=looks, x=x, y=y, ends=ends, span=span)
        groups.setdefault(group, {})[name] = draw
    order = {_width(row): widths.index(row["hidden"]) for _, row in cells.iterrows()}
    chosen = {
        group: _some(sorted(panels, key=lambda name: order.get(name, 0)), MOST_PANELS)
        for group, panels in groups.items()
    }
    return {group: {name: groups[group][name] for name in chosen[group]} for group in _some(list(groups), MOST_GROUPS)}


def _width(row: pd.Series) -> str:
    return (
        formatting.layers(row["hidden"]).partition(", ")[0]
        if pd.notna(row["width"])
        else formatting.layers(row["hidden"])
    )


def _gap_by_training_loss(evidence: Evidence, cells: pd.DataFrame, looks: figures.Looks) -> Plot | None:
    table = evidence.gap_by_training_loss
    by_configuration = dict(iter(table.groupby("configuration", sort=False)))

    def lines_of(row: pd.Series, name: str) -> Sequence[Line] | None:
        own = by_configuration.get(row["configuration"])
        if own is None:
            return None
        return [_line(own, name, "training_loss", figure, len(own) - 1) for figure in ("gap_loss", "gap_accuracy")]

    groups = _grouped(cells, lines_of, looks, figures.TRAINING_LOSS, [figures.GAP_LOSS, figures.GAP_ACCURACY])
    if not groups:
        return None
    ends = table.drop_duplicates("configuration", keep="last")
    ends = cells[["configuration", "optimizer", "hidden", "width", "setting"]].merge(ends, on="configuration")
    numbers = pd.DataFrame(
        {
            "configuration": [_called(row) for _, row in ends.iterrows()],
            "seeds": ends["n"],
            "lowest training loss of all seeds": [formatting.number(value, 4) for value in ends["training_loss"]],
            "gap there, nats": [formatting.number(value, 3) for value in ends["gap_loss_mean"]],
            "gap there, nats, 95 % interval": _span(ends, "gap_loss", 1, 3),
            "gap there, points": _percent(ends["gap_accuracy_mean"]),
        }
    )
    caption = (
        "From the first point of the curves on the left to the last on the right: how large the gap is when the training loss has "
        "fallen so far. Above the gap in loss, below in accuracy; mean over seeds, 95 % interval as a band. Where two lines pass the "
        "same training loss, the higher one generalises worse there."
    )
    title = "The gap at each training loss"
    said = "A line for each optimizer, the training loss falling to the right."
    return _panels("gap_by_training_loss", title, caption, said, numbers, groups, list(looks), 2)


def _called(row: pd.Series) -> str:
    return ", ".join(filter(None, [row["optimizer"], _width(row), row["setting"]]))


def _held_out_loss(evidence: Evidence, cells: pd.DataFrame, looks: figures.Looks) -> Plot | None:
    bands = evidence.bands(evidence.questions[0])
    by_configuration = dict(iter(bands[bands["split"].ne("train")].groupby("configuration", sort=False)))
    numbers = []

    def lines_of(row: pd.Series, name: str) -> Sequence[Line] | None:
        own = by_configuration.get(row["configuration"])
        if own is None or len(own) < 2:
            return None
        lowest = int(own["loss_mean"].to_numpy().argmin())
        last = own["loss_mean"].iloc[-1]
        numbers.append(
            {
                "configuration": _called(row),
                "lowest mean held-out loss": formatting.number(own["loss_mean"].iloc[lowest], 4),
                "at epoch": int(own["epoch"].iloc[lowest]),
                "at the last epoch": formatting.number(last, 4),
                "lost since, nats": formatting.number(last - own["loss_mean"].iloc[lowest], 4),
            }
        )
        return [_line(own, name, "epoch", "loss", lowest)]

    groups = _grouped(cells, lines_of, looks, figures.EPOCH, [figures.LOSS])
    if not groups:
        return None
    caption = "Mean over seeds, 95 % interval as a band. The marker is the lowest point: what rises after it was trained too long."
    said = "A line for each optimizer over the epochs, its lowest point marked."
    return _panels("held_out_loss", "Held-out loss by epoch", caption, said, pd.DataFrame(numbers), groups, list(looks))


def _learning_curves(evidence: Evidence, question: tuple[str, str]) -> Plot | None:
    """A panel for each optimizer, in groups by shape and setting: training and held-out loss and accuracy."""
    bands = evidence.bands(question)
    cells = tables.cells(evidence.question(question).sort_index(), "hidden")
    cells = cells[cells["configuration"].isin(bands["configuration"])]
    if cells.empty:
        return None
    lines = {row["configuration"]: _curves(bands, row["configuration"]) for _, row in cells.iterrows()}
    axes = [figures.LOSS, figures.ACCURACY]
    ends = [figures.limits(axis, [own[place] for own in lines.values()]) for place, axis in enumerate(axes)]
    groups: dict[str, dict[str, Panel]] = {}
    for _, row in cells.sort_values("optimizer").iterrows():
        group = ", ".join(filter(None, [_width(row), row["setting"]]))
        draw = partial(_draw, lines=lines[row["configuration"]], looks=CURVE_LOOKS, x=figures.EPOCH, y=axes, ends=ends)
        groups.setdefault(group, {})[row["optimizer"]] = draw
    first = cells.sort_values("place", kind="stable").iloc[0] if "place" in cells else cells.iloc[0]
    shown = ", ".join(filter(None, [_width(first), first["setting"]]))
    order = [
        ", ".join(filter(None, [_width(row), row["setting"]]))
        for _, row in cells.sort_values(["width", "hidden"]).iterrows()
    ]
    names = _some(list(dict.fromkeys(order)), MOST_GROUPS, shown)
    held = "held-out samples" if "val" in set(bands["split"]) else "the test file, since nothing is held out"
    caption = (
        f"Training and {held}: mean over seeds, 95 % interval as a band.{_curve_samples(evidence, question)} All panels have the "
        "same axes; that of accuracy is stretched towards 100 %, so that halving the errors is the same distance everywhere."
    )
    name = "learning_curves" if question == evidence.questions[0] else f"learning_curves_{_slug('_'.join(question))}"
    title = f"{question[1]}, on {question[0]}"
    said = "Loss and accuracy by epoch, training against held out."
    chosen = {group: groups[group] for group in names}
    return _panels(
        name, title, caption, said, _last_points(cells, bands), chosen, list(CURVE_LOOKS), 2, "Network", shown
    )


def _curves(bands: pd.DataFrame, configuration: str) -> list[list[Line]]:
    """Training and held-out lines of loss, and of accuracy."""
    own = bands[bands["configuration"].eq(configuration)]
    splits = {"training": own[own["split"].eq("train")], "held out": own[own["split"].ne("train")]}
    return [[_line(rows, name, "epoch", figure) for name, rows in splits.items()] for figure in ("loss", "accuracy")]


def _curve_samples(evidence: Evidence, question: tuple[str, str]) -> str:
    """What to say of training curves that were measured on a part of the training samples."""
    jobs = [result.job for result in evidence.experiments[question[1]] if result.job.dataset.name == question[0]]
    sizes = sorted({job.training.curve_samples for job in jobs} - {0})
    if not sizes:
        return ""
    return f" Training curves are measured on the same {formatting.listed([f'{size:,}' for size in sizes], 'or')} training samples."


def _last_points(cells: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    last = bands.groupby(["configuration", bands["split"].eq("train")], sort=False).last()
    rows = []
    for _, row in cells.iterrows():
        train, held = last.loc[(row["configuration"], True)], last.loc[(row["configuration"], False)]
        rows.append(
            {
                "configuration": opening.configuration(row),
                "epoch": int(train["epoch"]),
                "training loss": formatting.number(train["loss_mean"], 4),
                "held-out loss": formatting.number(held["loss_mean"], 4),
                "training, %": formatting.number(100 * train["accuracy_mean"]),
                "held out, %": formatting.number(100 * held["accuracy_mean"]),
            }
        )
    return pd.DataFrame(rows)


def _baseline(evidence: Evidence) -> Plot | None:
    book = evidence.book
    if book.empty or book["dataset"].iloc[0] != "mnist":
        return None
    interval = summary.interval(book["test_accuracy"], summary.BOUNDS["test_accuracy"])
    table = pd.DataFrame(
        {
            "seed": book["seed"].to_list(),
            "test, %": _percent(book["test_accuracy"]),
            "training, %": _percent(book["train_accuracy"]),
            "gap, points": _percent(book["gap_accuracy"]),
        }
    )
    caption = "Every dot is one seed; the diamond is their mean, with its 95 % interval."
    alternative = (
        f"Test accuracies of {formatting.plural(len(book), 'seed')} from {formatting.percent(book['test_accuracy'].min())} to "
        f"{formatting.percent(book['test_accuracy'].max())}, their mean {formatting.percent(interval['mean'])}; "
        "the book prints 97.8 %; the expected band is 97.2 to 98.4 %."
    )
    drawn = figures.baseline(book["test_accuracy"].to_list(), interval)
    return _plot(drawn, "baseline", "Test accuracy against the book's", caption, alternative, table)


def _network(evidence: Evidence, arrays: Arrays) -> Network | None:
    result = evidence.winner
    if result is None or result.predictions is None:
        return None
    labels = np.asarray(arrays.test_labels)
    counts = np.zeros((arrays.classes, arrays.classes), dtype=int)
    np.add.at(counts, (labels, result.predictions), 1)
    classes = [str(number) for number in range(arrays.classes)]
    errors = int((labels != result.predictions).sum())
    wrong = counts - np.diag(np.diag(counts))
    pairs = [(int(wrong[a, p]), a, p) for a, p in zip(*np.nonzero(wrong), strict=True)]
    worst = [
        f"{count} × {a} taken for {p}"
        for count, a, p in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:3]
    ]
    most = f" Most often: {formatting.listed(worst)}." if worst else ""
    frame = pd.DataFrame(counts, columns=[f"says {name}" for name in classes])
    frame.insert(0, "shows", classes)
    confusion = _plot(
        figures.confusion(counts, classes),
        "confusion",
        "What it takes for what",
        f"Test images by what they show (rows) and what the network says (columns); errors in vermillion.{most}",
        f"Confusion matrix of {len(labels):,} test images: {formatting.plural(errors, 'error')}.{most}",
        frame,
    )
    network = Network(result.name, confusion, errors, len(labels))
    network.hardest = pictures.hardest(result, arrays)
    if network.hardest:
        images, captions = [[getattr(hard, part) for hard in network.hardest] for part in ("image", "caption")]
        network.hardest_png = lambda: style.png(figures.digit_sheet(images, captions))
    layer = pictures.first_layer(result, arrays)
    if layer is not None:
        network.weights, network.units, network.units_shown = (
            pictures.weight_atlas(layer.images),
            layer.units,
            len(layer.images),
        )
    return network


def _published(evidence: Evidence) -> Plot | None:
    """Ours beside published figures that have a band, as far as there are runs of them."""
    rows = other_tables.bands(evidence)
    if rows is None or rows.empty:
        return None
    shown = rows[["low", "high", "mean", "mean_low", "mean_high"]].sub(rows["published"], axis=0)
    numbers = pd.DataFrame(
        {
            "row": rows["id"].str.replace("_", " ").to_list(),
            "source": rows["source"].to_list(),
            "measure": rows["measure"].to_list(),
            "published": [formatting.number(value) for value in rows["published"]],
            "band": rows["band"].to_list(),
            "ours": rows["ours"].to_list(),
            "verdict": rows["verdict"].to_list(),
        }
    )
    told = [f"{row['source']}: {row['ours']}, {row['verdict']}" for _, row in numbers.iterrows()]
    caption = (
        "Dashed line: the published figure. Blue: the band in which ours should lie, open to the right where it is a floor; diamond: "
        "our mean over seeds, with its 95 % interval."
    )
    drawn = figures.against_published(shown.assign(name=numbers["row"].to_list()))
    return _plot(drawn, "published_figures", "Ours against published figures", caption, "; ".join(told) + ".", numbers)
