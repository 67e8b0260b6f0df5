"""What came of training: how the gap opened epoch by epoch, and a shallow network against a deep one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models import dense
from pipeline.tour import text
from pipeline.tour.material import BOOK, DEEP, Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.results.result import Result


def gap(here: Material) -> str:
    """Training and test side of the tour's network after each epoch, and what lies between them."""
    run = here.run(*BOOK)
    history = run.history
    rows = []
    for epoch in range(len(history["gap/accuracy"])):
        opened = history["gap/accuracy"][epoch]
        sides = [text.percent(history[f"{side}/accuracy"][epoch]) for side in ("train", "test")]
        losses = [f"{history[f'{side}/loss'][epoch]:.3f}" for side in ("train", "test")]
        rows.append([str(epoch + 1), *losses, *sides, f"{100 * opened:.2f}", text.bar(opened / 0.04, 24)])
    head = ["epoch", "training loss", "test loss", "training", "test", "gap, points", ""]
    return "\n".join(
        [
            f"{run.name}, {run.job.dataset.train_size:,} training images",
            "",
            text.table(head, rows, left=(0, 6)),
            "",
            here.picture("gap", _opening(run)),
        ]
    )


def _opening(run: Result) -> Figure:
    """Both accuracies over the epochs, and the gap between them filled."""
    from pipeline.report import style

    train, test = ([100 * value for value in run.history[f"{side}/accuracy"]] for side in ("train", "test"))
    epochs = range(1, len(train) + 1)
    with style.styled():
        figure, ax = style.axes(6.4, 3.4, right=1.0)
        ax.fill_between(epochs, test, train, color=style.HELD, alpha=0.13, linewidth=0)
        for name, values, colour in (("training", train, style.TRAIN), ("test", test, style.HELD)):
            ax.plot(epochs, values, "o-", color=colour, linewidth=2)
            ax.annotate(name, (epochs[-1], values[-1]), (9, 0), textcoords="offset points", color=colour, va="center")
        middle = (train[-1] + test[-1]) / 2
        ax.annotate(
            f"gap\n{train[-1] - test[-1]:.2f} points",
            (epochs[-1], middle),
            (9, 0),
            textcoords="offset points",
            va="center",
        )
        ax.set(xlabel="epoch", ylabel="accuracy, % of the images", xticks=list(epochs))
    return figure


def depth(here: Material) -> str:
    """One wide layer against three narrow ones: weights, and what both sides came to."""
    rows = []
    for words in (BOOK, DEEP):
        run = here.run(*words, weights=False)
        model, figures = run.job.model, run.figures
        rows.append(
            [
                " → ".join(map(str, (784, *model.hidden, 10))),
                f"{dense.parameters(model, 784, 10):,}",
                f"{figures['train/loss']:.3f}",
                text.percent(figures["train/accuracy"]),
                text.percent(figures["test/accuracy"]),
                f"{100 * figures['overfitting_gap/accuracy']:.2f}",
            ]
        )
    return text.table(["network", "weights", "training loss", "training", "test", "gap, points"], rows)
