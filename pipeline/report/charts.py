"""Charts as Vega-Lite specifications, for the page, reports/figures and .dvc/plots (scripts/dvc_plots.py).

The rows of a chart have `panel`, `series` (its colour), `label` (the configuration), `x`, `mean`, `low`, `high`. An interval
may be missing.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

OPTIMIZERS = ("#0072b2", "#d55e00", "#009e73", "#c0619b", "#c98a00", "#3f9fd6", "#7d858c", "#9a8b00")
"""Based on Okabe and Ito's palette, safe for colour-blind readers; every colour is visible on white and on black."""
ORDERED = ("#7b5cd6", "#b656c4", "#dd5a97", "#e86a5c", "#d98a2b", "#8c9a1f")
"""Colours of widths, the narrowest first."""
MARKS = {"lowest": "circle", "default": "circle", "chosen": "diamond"}
"""Shapes of marked points on a curve."""
LINES = dict.fromkeys(("labelColor", "titleColor", "domainColor", "tickColor", "gridColor"), "currentColor")
CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {**LINES, "gridOpacity": 0.15, "domainOpacity": 0.4, "tickOpacity": 0.4, "titleFontWeight": "normal"},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal"},
    "header": {"labelColor": "currentColor", "labelFontWeight": "bold", "labelAnchor": "start"},
    "title": {"color": "currentColor", "anchor": "start", "fontSize": 11, "fontWeight": "normal"},
    "text": {"color": "currentColor"},
}
"""Text and axes take the colour of the surrounding text, so a chart suits light and dark themes."""

WIDTH, HEIGHT, COLUMNS = 210, 180, 3
UNSEEN = {"value": 0}
"""The opacity of points that only carry tooltips."""
Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

ALL = "all"
"""All samples as a training size on an axis, to the right of the others."""
IN_LINES = "split(datum.label, ', ')"
"""Break `residual, width 128` into two lines on an axis."""


def spec(chart: alt.TopLevelMixin) -> Spec:
    """The self-contained specification of a chart, with CONFIG."""
    with alt.data_transformers.enable(consolidate_datasets=False):
        return {**chart.to_dict(), "config": CONFIG}


def svg(found: Spec, name: str) -> str:
    """The chart as SVG, without the points that only carry tooltips. Its ids begin with `name` and are reproducible."""
    if "spec" in found:
        seen = [layer for layer in found["spec"]["layer"] if layer["encoding"]["opacity"] != UNSEEN]
        found = {**found, "spec": {**found["spec"], "layer": seen}}
    ids: dict[str, str] = {}
    drawn = vl_convert.vegalite_to_svg(found)
    return re.sub(
        r'( id="|url\(#)([^")]+)', lambda found: found[1] + ids.setdefault(found[2], f"{name}-{len(ids)}"), drawn
    )


def png(found: Spec) -> bytes:
    return vl_convert.vegalite_to_png({**found, "background": "white"}, ppi=144)


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON: ten decimals, since a training loss may be near 1e-7; null for missing values."""
    return json.loads(rows.to_json(orient="records", double_precision=10))


@cache
def scripts() -> bytes:
    """Vega, Vega-Lite and vega-embed as one gzipped script that sets `vegaEmbed`. Takes seconds."""
    return gzip.compress(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed").encode(), 9, mtime=0)


def intervals(rows: Any, x: str, y: str, *, names: Sequence[str] = ()) -> alt.FacetChart:
    """Means with intervals as bars over a few values of x, a panel per `panel`."""
    places = pd.Series([] if isinstance(rows, str) else [row["x"] for row in rows], dtype=object)
    numbers = pd.to_numeric(places.where(places.ne(ALL), math.inf), errors="coerce").sort_values()
    order: Any = alt.Undefined
    if places.eq(ALL).any():  # Vega-Lite orders texts, but no mixture of them and numbers
        order = [*dict.fromkeys(map(str, places[numbers.index]))]
        rows = [{**row, "x": str(row["x"])} for row in rows]
    axis = (
        alt.X("x:O", title=x, sort=order)
        .axis(labelAngle=0, labelLimit=90, labelExpr=IN_LINES)
        .scale(paddingInner=0.75, paddingOuter=0.4)
    )
    base = _series(names, OPTIMIZERS).encode(x=axis, xOffset="series:N")  # side by side, so that no interval is hidden
    value = alt.Y("mean:Q", title=None).scale(zero=False)
    bar = base.mark_rule(strokeWidth=1.5, clip=True).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=1.5).encode(y=value)
    point = base.mark_point(filled=True, size=50)
    point = point.encode(y=value, shape=_legend(alt.Shape, names), tooltip=_tooltip(x, y))
    layers = (bar, line, point) if numbers.notna().all() else (bar, point)  # a line between categories has no meaning
    return _panels(layers, rows, y).resolve_scale(x="independent", xOffset="independent", y="independent")


def curves(
    rows: Any,
    x: str,
    y: str,
    *,
    names: Sequence[str] = (),
    colours: Sequence[str] = OPTIMIZERS,
    log: str = "",
    falling: bool = False,
    marked: bool = False,
) -> alt.FacetChart:
    """Lines with intervals as bands, a line per `label` and a panel per `panel`.

    `log`: which of x and y are logarithmic; `falling`: x falls to the right; `marked`: draw the points with a `mark`, and give
    each panel its own x axis.
    """
    scales: dict[str, Any] = {axis: {"type": "log"} if axis in log else {"zero": False} for axis in "xy"}
    axis = alt.X("x:Q", title=x).scale(reverse=falling, nice=False, **scales["x"]).axis(tickCount=4, grid=False)
    base = _series(names, colours).encode(x=axis, detail="label:N")
    value = alt.Y("mean:Q", title=None).scale(nice=False, **scales["y"]).axis(tickCount=5, grid="y" not in log)
    targets = base.mark_point(filled=True, size=90)  # a line alone is too thin for the pointer
    layers = [
        base.mark_area(clip=True, fillOpacity=0.12).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        base.mark_line(strokeWidth=1.6).encode(y=value),
        targets.encode(y=value, opacity=alt.value(UNSEEN["value"]), tooltip=_tooltip(x, y)),
    ]
    if not marked:
        return _panels(layers, rows, y)
    shapes = alt.Shape("mark:N", legend=None).scale(domain=list(MARKS), range=list(MARKS.values()))
    points = base.transform_filter("datum.mark").mark_point(size=60, strokeWidth=2).encode(y=value, shape=shapes)
    return _panels([*layers, points], rows, y).resolve_scale(x="independent")


def _series(names: Sequence[str], colours: Sequence[str]) -> alt.Chart:
    """A chart whose marks have the colour of their series; the legend selects one."""
    colour = _legend(alt.Color, names, colours)
    return alt.Chart(width=WIDTH, height=HEIGHT).encode(color=colour, opacity=_faded(1))


def _chosen() -> alt.Parameter:
    return alt.selection_point(fields=["series"], bind="legend", name="chosen")


def _faded(opacity: float) -> Any:
    """`opacity` for the series that the legend selects, faint for the others."""
    return alt.when(_chosen()).then(alt.value(opacity)).otherwise(alt.value(0.08))


def _legend(kind: Any, names: Sequence[str], colours: Sequence[str] = ()) -> Any:
    scale = alt.Scale(domain=list(names) or alt.Undefined, range=list(colours) or alt.Undefined)
    legend = alt.Legend(title=None, orient="top", columns=8, symbolOpacity=1)
    return kind("series:N", sort=None, scale=scale, legend=legend)


def _panels(layers: Sequence[alt.Chart], rows: Any, title: str) -> alt.FacetChart:
    layered = alt.layer(*layers).add_params(_chosen()).properties(data=_data(rows))
    return layered.facet(alt.Facet("panel:N", title=None, sort=[]), columns=COLUMNS).properties(title=title)


def _data(rows: Any) -> alt.InlineData:
    """Inline data; a string is a placeholder for rows that DVC inserts."""
    return alt.InlineData(rows if isinstance(rows, str) else list(rows))


def _tooltip(x: str, y: str) -> list[alt.Tooltip]:
    ends = [alt.Tooltip(f"{end}:Q", format=".4~f", title=f"95 % interval, {end}") for end in ("low", "high")]
    mean = alt.Tooltip("mean:Q", format=".4~f", title=y)
    return [alt.Tooltip("label:N", title=" "), alt.Tooltip("x:N", title=x or " "), mean, *ends]


def confusion(rows: Any, what: str = "samples") -> alt.TopLevelMixin:
    """Counts of `actual` by `predicted`; only errors are coloured."""
    wrong = alt.datum.actual != alt.datum.predicted
    base = alt.Chart(_data(rows), width=340, height=340).encode(
        x=alt.X("predicted:O", title="predicted class").axis(labelAngle=0),
        y=alt.Y("actual:O", title="actual class"),
        tooltip=["actual:O", "predicted:O", alt.Tooltip("n:Q", title=what)],
    )
    shade = alt.Color("n:Q", legend=None).scale(range=["#fbe3d1", "#d55e00"], domainMin=0)
    ink = alt.when(wrong).then(alt.value("#1b2127")).otherwise(alt.value("currentColor"))
    return alt.layer(
        base.mark_rect().transform_filter(wrong).encode(color=shade),
        base.mark_text(fontSize=11).encode(text="n:Q", color=ink),
    )


def pictures(rows: Rows, columns: int = 8) -> alt.TopLevelMixin:
    """An image per row (`url`), with its `caption` below."""
    lines = -(-len(rows) // columns)
    base = alt.Chart(_data(rows), width=80 * columns, height=88 * lines).encode(
        x=alt.X("column:O", axis=None), y=alt.Y("line:O", axis=None), tooltip=alt.Tooltip("caption:N", title=" ")
    )
    return alt.layer(
        base.mark_image(width=56, height=56).encode(url="url:N"),
        base.mark_text(dy=38, fontSize=11).encode(text="caption:N"),
    )


def explorer(runs: Rows, points: Rows, panels: Sequence[str], names: Sequence[str], key: str) -> alt.HConcatChart:
    """The gap by network and optimizer in one of `panels`. A brush over the cells selects runs, a click on a run its curves.

    `runs` have panel, network, series, name, key, gap, held_out, test. `points` are the curves of the run `key`, as epoch,
    loss, samples; the page replaces the data set `points` when another run is selected.
    """
    panel = alt.param("panel", bind=alt.binding_select(options=list(panels), name=" "), value=panels[0])
    brush = alt.selection_interval(name="brush", encodings=["x", "y"])
    run = alt.selection_point(fields=["key"], name="run", value=[{"key": key}], empty=False)
    shown = alt.Chart(_data(runs), height=240).transform_filter(alt.datum.panel == panel)
    gap = alt.Color("mean(gap):Q", title="gap, points").scale(range=["#f9dcc4", "#d55e00"])
    cells = shown.mark_rect(stroke="currentColor", strokeOpacity=0.2).encode(
        x=alt.X("network:O", title=None, sort=None).axis(labelAngle=0, labelExpr=IN_LINES),
        y=alt.Y("series:O", title=None),
        color=gap.legend(orient="top", gradientLength=150),
        opacity=alt.when(brush).then(alt.value(1)).otherwise(alt.value(0.3)),
        tooltip=["series:N", "network:N", alt.Tooltip("mean(gap):Q", format=".2f", title="gap, points"), "count()"],
    )
    dots = shown.transform_filter(brush).mark_point(filled=True)
    dots = dots.encode(
        x=alt.X("held_out:Q", title="held-out accuracy, %").scale(zero=False).axis(tickCount=5),
        y=alt.Y("gap:Q", title="gap, points").scale(zero=False),
        color=_legend(alt.Color, names, OPTIMIZERS),
        opacity=_faded(0.85),
        size=alt.when(run).then(alt.value(220)).otherwise(alt.value(45)),
        tooltip=["name:N", *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("gap", "held_out", "test"))],
    )
    lines = alt.Chart(alt.InlineData(list(points), name="points"), width=270, height=240).mark_line(point={"size": 14})
    lines = lines.encode(
        x=alt.X("epoch:Q").scale(zero=False).axis(tickMinStep=1, tickCount=5),
        y=alt.Y("loss:Q", title="loss, nats").scale(type="log", nice=False).axis(tickCount=5),
        color=alt.Color("samples:N").scale(range=["#d55e00", "#0072b2"]).legend(title=None, orient="top"),
        tooltip=["samples:N", "epoch:Q", alt.Tooltip("loss:Q", format=".4f"), alt.Tooltip("accuracy:Q", format=".2%")],
    )
    parts = cells.properties(width=220).add_params(brush), dots.properties(width=330).add_params(run, _chosen()), lines
    return alt.hconcat(*parts, spacing=30).resolve_scale(color="independent").add_params(panel)
