"""The figures of a report, each with its caption, its alternative text and the table behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import figures, other_tables, pictures, style
from pipeline.report.evidence import Evidence
from pipeline.report.prose import opening
from pipeline.statistics import summary
from pipeline.training.result import FINISHED

MOST_SHAPES = 6
"""Learning curves are drawn for so many widths at most: each costs the page about 15 kB an optimizer."""


@dataclass
class Exhibit:
    """One figure. `name` is its file's, `svg` what the page shows; `table` says the same in numbers."""

    name: str
    title: str
    caption: str
    alternative: str
    table: pd.DataFrame
    png: Callable[[], bytes]
    svg: str = ""


@dataclass
class Panels:
    """Learning curves: for each shape of the hidden layers a panel per optimizer."""

    exhibit: Exhibit
    shown: str
    """The shape that is shown first."""
    by_shape: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Network:
    """Pictures of the best network."""

    name: str
    confusion: Exhibit
    errors: int
    images: int
    hardest: list[pictures.Hard] = field(default_factory=list)
    hardest_png: Callable[[], bytes] | None = None
    weights: np.ndarray | None = None
    units: int = 0
    units_shown: int = 0
    heeded: pd.DataFrame | None = None
    """A row per unit that is shown."""


class Exhibits:
    """Every figure that these runs allow; what they do not allow is None or empty."""

    def __init__(self, evidence: Evidence, arrays: Arrays | None) -> None:
        with style.styled():
            self.looks = style.look(list(dict.fromkeys(evidence.runs.sort_values("optimizer")["optimizer"])))
            cells = summary.best_per_cell(evidence.main.sort_index())
            best = evidence.main[evidence.main["n"] > 0].sort_index()
            optimizers = list(dict.fromkeys(best["optimizer"]))
            self.dumbbells = _dumbbells(best.drop_duplicates("optimizer"), evidence.chosen_on_validation)
            several_widths = cells["width"].nunique() > 1
            by_depth = summary.best_per_cell(evidence.main.sort_index(), ("optimizer", "width", "depth"))
            deep = by_depth["depth"].nunique() > 1
            shown = by_depth if deep else cells
            self.gap_accuracy = _against_width(shown, "gap_accuracy", self.looks) if several_widths else None
            self.gap_loss = _against_width(shown, "gap_loss", self.looks) if several_widths else None
            grid = len(cells) > 1
            self.test_map = _heat_map(cells, optimizers, "test_accuracy", deep) if grid else None
            self.gap_map = _heat_map(cells, optimizers, "gap_accuracy", deep) if grid else None
            panels = {question: _panels(evidence, question) for question in evidence.questions}
            book = evidence.book_question if len(panels) > 1 else None
            self.book_panels = panels.get(book) if book else None
            self.panels = [shown for question, shown in panels.items() if shown and question != book]
            self.published = _published(evidence)
            self.baseline = _baseline(evidence)
            self.network = _network(evidence, arrays) if arrays is not None else None

    def all(self) -> list[Exhibit]:
        found = [self.dumbbells, self.gap_accuracy, self.gap_loss, self.test_map, self.gap_map]
        found += [self.baseline, self.published]
        found += [panels.exhibit for panels in [*self.panels, self.book_panels] if panels]
        if self.network:
            found.append(self.network.confusion)
        return [exhibit for exhibit in found if exhibit]

    def files(self) -> dict[str, bytes]:
        """Name of each PNG and its bytes."""
        with style.styled():
            return {f"{name}.png": draw() for name, draw in self._drawings().items()}

    def _drawings(self) -> dict[str, Callable[[], bytes]]:
        files = {exhibit.name: exhibit.png for exhibit in self.all()}
        if self.network and self.network.hardest_png:
            files["hardest_digits"] = self.network.hardest_png
        if self.network and self.network.weights is not None:
            atlas = pictures.on_white(self.network.weights)
            files["first_layer"] = lambda: pictures.png(pictures.enlarged(atlas, pictures.enlargement(len(atlas))))
        return files


def _exhibit(figure: Figure, name: str, title: str, caption: str, alternative: str, table: pd.DataFrame) -> Exhibit:
    return Exhibit(
        name, title, caption, alternative, table, lambda: style.png(figure), style.svg(figure, name, alternative)
    )


def _percent(values: pd.Series) -> list[str]:
    return [formatting.number(100 * value) for value in values]


def _span(table: pd.DataFrame, figure: str, scale: float = 100, digits: int = 2) -> list[str]:
    pairs = zip(table[f"{figure}_low"], table[f"{figure}_high"], strict=True)
    return [formatting.span(low, high, scale, digits) or "–" for low, high in pairs]


def _dumbbells(rows: pd.DataFrame, chosen: bool) -> Exhibit:
    names = [opening.configuration(row) for _, row in rows.iterrows()]
    table = pd.DataFrame(
        {
            "configuration": names,
            "n": rows["n"].to_list(),
            "training, %": _percent(rows["train_accuracy_mean"]),
            "test, %": _percent(rows["test_accuracy_mean"]),
            "test, 95 % interval": _span(rows, "test_accuracy"),
            "gap, points": _percent(rows["gap_accuracy_mean"]),
            "gap, 95 % interval": _span(rows, "gap_accuracy"),
        }
    )
    told = zip(names, table["training, %"], table["test, %"], table["gap, points"], strict=True)
    pairs = [
        f"{name}: {train} % in training, {test} % in the test, gap {gap} points" for name, train, test, gap in told
    ]
    title, caption = "Training against test", ""
    if len(rows) > 1 and chosen:
        title, caption = "Each optimizer at its best", "For each optimizer its highest validation accuracy. "
    elif len(rows) > 1:
        caption = "For each optimizer its first configuration, since nothing is held out to choose by. "
    caption += (
        "Blue: accuracy on the training images; vermillion: on the test images, its line the 95 % interval over seeds. "
        "The distance between them is the overfitting gap."
    )
    return _exhibit(figures.dumbbells(rows), "gap_at_best_width", title, caption, "; ".join(pairs) + ".", table)


_AGAINST_WIDTH = {  # figure: title, axis, unit, factor, digits
    "gap_accuracy": ("The gap in accuracy, by width", "gap, points of accuracy", "points", 100, 2),
    "gap_loss": ("The gap in loss, by width", "gap, nats of loss", "nats", 1, 3),
}


_BESIDE = {"gap_accuracy": ("test_accuracy", "test, %"), "gap_loss": ("test_loss", "test, nats")}
"""What is drawn beside a gap where there are several depths."""


def _against_width(cells: pd.DataFrame, figure: str, looks: dict[str, dict[str, object]]) -> Exhibit:
    """Of one depth a line per optimizer; of several a row of panels per optimizer, with a line per depth."""
    title, axis, unit, scale, digits = _AGAINST_WIDTH[figure]
    deep = cells["depth"].nunique() > 1
    columns = {
        "optimizer": cells["optimizer"].to_list(),
        "width": cells["width"].to_list(),
        **({"depth": cells["depth"].to_list()} if deep else {}),
        "n": cells["n"].to_list(),
        f"gap, {unit}": [formatting.number(scale * value, digits) for value in cells[f"{figure}_mean"]],
        "95 % interval": _span(cells, figure, scale, digits),
    }
    kind = (
        "accuracy on the training images minus accuracy on the test images"
        if scale == 100
        else "test loss minus training loss"
    )
    caption = f"{kind[0].upper()}{kind[1:]}, after the last epoch. "
    told = _against_width_in_words(cells, figure, unit, scale, digits)
    if deep:
        other, label = _BESIDE[figure]
        columns[label] = [formatting.number(scale * value, digits) for value in cells[f"{other}_mean"]]
        columns["test, 95 % interval"] = _span(cells, other, scale, digits)
        title = f"{title} and depth"
        caption += (
            "A row for each optimizer, the gap on the left, the test split on the right, on the same axes for all; bands are "
            "95 % intervals over seeds, cut at the frame."
        )
        drawn = figures.by_depth(cells, (figure, other), (f"gap, {unit}", label))
    else:
        caption += (
            "Vertical lines are 95 % intervals over seeds, "
            "the longest cut at the frame; points of one width stand side by side to be told apart."
        )
        drawn = figures.against_width(cells, figure, axis, looks, scale)
    return _exhibit(drawn, f"{figure}_by_width", title, caption, told, pd.DataFrame(columns))


def _against_width_in_words(cells: pd.DataFrame, figure: str, unit: str, scale: float, digits: int) -> str:
    lines = []
    deep = cells["depth"].nunique() > 1
    for _, rows in cells.groupby(["optimizer", "depth"] if deep else ["optimizer"]):
        ends = [rows.iloc[0], rows.iloc[-1]] if len(rows) > 1 else [rows.iloc[0]]
        told = [
            f"{formatting.number(scale * row[f'{figure}_mean'], digits)} {unit} at width {row['width']}" for row in ends
        ]
        name = f", {formatting.plural(int(ends[0]['depth']), 'layer')}" if deep else ""
        lines.append(f"{ends[0]['optimizer']}{name}: {' and '.join(told)}")
    return f"A line for each {'depth of each optimizer' if deep else 'optimizer'} over the width. {'; '.join(lines)}."


def _heat_map(cells: pd.DataFrame, optimizers: list[str], figure: str, deep: bool) -> Exhibit:
    test = figure == "test_accuracy"
    shade: Callable[[float], float] = figures.stretch if test else lambda gap: max(gap, 0.0)
    title = "Test accuracy, %" if test else "Overfitting gap, points"
    table = cells.assign(cell=_percent(cells[f"{figure}_mean"])).pivot(
        index="optimizer", columns="width", values="cell"
    )
    table = table.loc[[name for name in optimizers if name in table.index]].fillna("–").reset_index()
    ordered = cells.sort_values(f"{figure}_mean")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    told = [
        f"{word} {formatting.number(100 * row[f'{figure}_mean'])} for {row['optimizer']} at width {row['width']}"
        for word, row in (("highest", high), ("lowest", low))
    ]
    order = [name for name in optimizers if name in set(cells["optimizer"])]
    caption = f"The fuller the colour, the {'more accurate' if test else 'larger the gap'}"
    if figures.halves_fit(order, cells["width"].nunique()):
        caption += (
            "; below each mean, half the length of its 95 % interval, or one end where the other end is the limit"
        )
    caption += ". The shade follows the errors on a logarithmic scale." if test else "."
    caption += " Of several depths, that of highest validation accuracy." if deep else ""
    drawn = figures.heat_map(cells, order, figure, style.TRAIN if test else style.HELD, shade)
    name = "heatmap_test_accuracy" if test else "heatmap_gap"
    return _exhibit(drawn, name, title, caption, f"{title} by optimizer and width: {'; '.join(told)}.", table)


def _panels(evidence: Evidence, question: tuple[str, str]) -> Panels | None:
    table = evidence.question(question).sort_index()
    table = table[table["n"] > 0].drop_duplicates(["optimizer", "hidden"])
    curve = evidence.curves
    curve = curve[
        curve["experiment"].eq(question[1])
        & curve["status"].eq(FINISHED)
        & curve["configuration"].isin(table["configuration"])
    ]
    if curve.empty:
        return None
    bands = summary.bands(curve)
    table = table[table["configuration"].isin(bands["configuration"])]
    limits = figures.CurveLimits(bands)
    held = (
        "the validation samples"
        if "val" in set(curve["split"])
        else "the test samples, since none are held out for validation"
    )
    sizes = table.drop_duplicates("hidden").sort_values(["depth", "width", "hidden"])["hidden"].to_list()
    shown = str(table["hidden"].iloc[0])
    if len(sizes) > MOST_SHAPES:
        some = [sizes[round(i)] for i in np.linspace(0, len(sizes) - 1, MOST_SHAPES)]
        sizes = [size for size in sizes if size in {*some[: MOST_SHAPES - 1], shown} or size == some[-1]]
    slug = "learning_curves" if question == evidence.questions[0] else f"learning_curves_{_slug('_'.join(question))}"
    by_shape: dict[str, list[str]] = {}
    sheet: dict[str, pd.DataFrame] = {}
    for size in sizes:
        rows = table[table["hidden"].eq(size)].sort_values("optimizer")
        for _, row in rows.iterrows():
            own = bands[bands["configuration"].eq(row["configuration"])]
            drawn = figures.learning_curves(own, opening.configuration(row), limits)
            label = f"Learning curves of {opening.configuration(row)}: {_curves_in_words(own)}"
            by_shape.setdefault(size, []).append(style.svg(drawn, f"{slug}-{size}-{_slug(row['optimizer'])}", label))
            if size == shown:
                sheet[opening.configuration(row)] = own
    panels = "A panel for each optimizer" if len(sheet) > 1 else "One panel"
    caption = (
        f"Mean over seeds with its 95 % interval as a band; held-out: {held}.{_curve_samples(evidence, question)} "
        f"{'All panels have the same axes; the' if len(table) > 1 else 'The'} axis of accuracy is stretched towards 100 %, "
        "so that halving the errors is the same distance everywhere."
    )
    exhibit = Exhibit(
        slug,
        f"{question[1]}, on {question[0]}",
        caption,
        f"{panels}: loss and accuracy by epoch, training against held-out.",
        _last_epoch(table, bands),
        lambda: style.png(figures.learning_curve_sheet(sheet, limits)),
    )
    return Panels(exhibit, shown, by_shape)


def _curve_samples(evidence: Evidence, question: tuple[str, str]) -> str:
    """What to say of training curves that were measured on a part of the training samples."""
    jobs = [result.job for result in evidence.experiments[question[1]] if result.job.dataset.name == question[0]]
    sizes = sorted({job.training.curve_samples for job in jobs} - {0})
    if not sizes:
        return ""
    return (
        f" Training curves are measured on {formatting.listed([f'{size:,}' for size in sizes])} training samples, drawn "
        "once; after the last epoch on all of them."
    )


def _curves_in_words(bands: pd.DataFrame) -> str:
    told = []
    for split, rows in bands.sort_values("epoch").groupby("split", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        name = "training" if split == "train" else "held-out"
        told.append(
            f"{name} accuracy from {formatting.percent(first['accuracy_mean'])} to {formatting.percent(last['accuracy_mean'])}"
        )
    return ", ".join(told) + f" in {formatting.plural(int(bands['epoch'].max()), 'epoch')}."


def _last_epoch(table: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    rows = []
    last = bands[bands["epoch"].eq(bands.groupby("configuration")["epoch"].transform("max"))].set_index(
        ["configuration", "split"]
    )
    for _, row in table.iterrows():
        splits = [split for split in ("train", "val", "test") if (row["configuration"], split) in last.index][:2]
        values = [last.loc[(row["configuration"], split)] for split in splits]
        if len(values) == 2:
            train, held = values
            rows.append(
                {
                    "configuration": opening.configuration(row),
                    "training loss": formatting.number(train["loss_mean"], 4),
                    "held-out loss": formatting.number(held["loss_mean"], 4),
                    "training, %": formatting.number(100 * train["accuracy_mean"]),
                    "held-out, %": formatting.number(100 * held["accuracy_mean"]),
                }
            )
    return pd.DataFrame(rows)


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text).strip("_")


def _baseline(evidence: Evidence) -> Exhibit | None:
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
    return _exhibit(drawn, "baseline", "Test accuracy against the book's", caption, alternative, table)


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
    confusion = _exhibit(
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
        network.heeded = pd.DataFrame(
            {
                "unit": layer.chosen,
                "norm of its weights to the next layer": [formatting.number(value) for value in layer.heeded],
                "norm of its weights from the pixels": [formatting.number(value) for value in layer.norms],
                "largest weight in favour": [formatting.number(value) for value in layer.images.max(axis=(1, 2))],
                "largest against": [formatting.number(value) for value in layer.images.min(axis=(1, 2))],
            }
        )
    return network


def _published(evidence: Evidence) -> Exhibit | None:
    """Ours beside published figures that have a band, as far as there are runs of them."""
    there = other_tables.read(evidence.tables_folder, other_tables.PUBLISHED, evidence.by_beginning)
    rows = other_tables.bands(there[0]) if there else None
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
    return _exhibit(
        drawn, "published_figures", "Ours against published figures", caption, "; ".join(told) + ".", numbers
    )
