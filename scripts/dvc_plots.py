"""Write .dvc/plots: the charts of a report as templates, in which DVC replaces ROWS by the rows of a table.

python -m scripts.dvc_plots
"""

from __future__ import annotations

import json

import altair as alt

from pipeline.cli.console import PROJECT
from pipeline.report import charts

ROWS, X, Y, TITLE = (f"<DVC_METRIC_{name}>" for name in ("DATA", "X", "Y", "TITLE"))
X_LABEL, Y_LABEL = "<DVC_METRIC_X_LABEL>", "<DVC_METRIC_Y_LABEL>"
_EXPERIMENT = "(datum.rev == 'workspace' ? '' : datum.rev + ', ') + datum.experiment"
_OPTIMIZER = "split(datum.optimizer, ', ')[0]"
_OF_WIDTH = {"series": "'width ' + toNumber(datum.width)"}
_SUMMARY = {
    "x": f"toNumber(datum['{X}'])",
    "mean": f"toNumber(datum['{Y}'])",
    "low": f"toNumber(datum[replace('{Y}', '_mean', '_low')])",
    "high": f"toNumber(datum[replace('{Y}', '_mean', '_high')])",
    "panel": f"{_EXPERIMENT} + slice(datum.optimizer, length({_OPTIMIZER}))",
    "label": "datum.optimizer + ', width ' + toNumber(datum.width)",
}
_POINT = {
    "x": f"toNumber(datum['{X}'])",
    "value": f"toNumber(datum['{Y}'])",
    "panel": _EXPERIMENT,
    "label": "replace(datum.name, regexp('-s[0-9]+$'), '')",
}
_MEAN = {"aggregate": [{"op": "mean", "field": "value", "as": "mean"}], "groupby": ["x", "panel", "label", "series"]}
_COUNT = {"aggregate": [{"op": "count", "as": "n"}], "groupby": ["actual", "predicted"]}


def templates() -> dict[str, charts.Spec]:
    """Return the templates in .dvc/plots, by file name without suffix."""
    by_width = charts.intervals(ROWS, X_LABEL, Y_LABEL)
    by_loss = charts.curves(ROWS, X_LABEL, Y_LABEL, colours=charts.ORDERED, log="x", falling=True)
    by_epoch = charts.curves(ROWS, X_LABEL, Y_LABEL, colours=charts.ORDERED, log="xy").resolve_scale(x="independent")
    held_out = {"filter": "datum.split != 'train'"}
    return {
        "by_width": _template(by_width, *_calculated(**_SUMMARY, series=_OPTIMIZER)),
        "gap_by_training_loss": _template(by_loss, *_calculated(**_SUMMARY, **_OF_WIDTH)),
        "learning_curves": _template(by_epoch, held_out, *_calculated(**_POINT, **_OF_WIDTH), _MEAN),
        "mistakes": _template(
            charts.confusion(ROWS), *_calculated(predicted=f"datum['{X}']", actual=f"datum['{Y}']"), _COUNT
        ),
    }


def _template(chart: alt.TopLevelMixin, *transforms: charts.Spec) -> charts.Spec:
    title = {"text": TITLE, "subtitle": Y_LABEL, "subtitleColor": "currentColor"}
    # The release of Vega-Lite that DVC loads.
    schema = "https://vega.github.io/schema/vega-lite/v5.json"
    return {**charts.spec(chart), "$schema": schema, "title": title, "transform": list(transforms)}


def _calculated(**expressions: str) -> list[charts.Spec]:
    return [{"calculate": expression, "as": name} for name, expression in expressions.items()]


if __name__ == "__main__":
    for name, template in templates().items():
        (PROJECT / f".dvc/plots/{name}.json").write_text(json.dumps(template) + "\n", encoding="utf-8")
