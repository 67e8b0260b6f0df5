"""Views of MLflow's UI: an experiment opens with saved columns and charts.

MLflow's server opens at traces of language models and an assistant; the server of `make ui` opens at runs. MLflow finds its
app by this project's entry point `mlflow.app`.
"""

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from typing import TYPE_CHECKING, Any

from pipeline.tracking.describe import GAP_POINTS, TEST_PERCENT

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Response
    from mlflow.tracking import MlflowClient

RUNS, CHARTS = "sweeps", "charts"
OPTIMIZER, WIDTH, SEED = "optimizer.name", "model.width", "seed"
COLUMNS = {
    "attributes.`Run Name`": 220,
    "runDateAndNestInfo": 130,
    f"params.`{OPTIMIZER}`": 118,
    f"params.`{WIDTH}`": 98,
    f"params.`{SEED}`": 50,
    f"metrics.`{GAP_POINTS}`": 162,
    f"metrics.`{TEST_PERCENT}`": 162,
    "duration": 80,
}
"""Columns and their widths in pixels, in this order as far as MLflow's column groups allow."""
TABLE = {
    "selectedColumns": [name for name in COLUMNS if name.startswith(("params", "metrics"))],
    "columnOrder": list(COLUMNS),
    "columnWidths": COLUMNS,
}
CURVES = ("gap/accuracy", "val/accuracy", "train/loss", "val/loss")
SHOWN = 10
"""Number of experiments whose pages are listed."""
NAME, STORE = "runs-first", "MLFLOW_BACKEND_STORE_URI"
SCRIPT = """<head><script>
for (const [name, value] of [["workflowType", '"machine_learning"'], ["assistant.fab.autoOpenedOnFirstLoad", "true"]])
  localStorage.getItem(`mlflow.${name}_v1`) ?? localStorage.setItem(`mlflow.${name}_v1`, value);
if (location.hash.length < 3) location.hash = "%s";
</script>"""
"""Sets MLflow's local storage unless it is set. MLflow versions with other names open at their own default."""


def page(experiment_id: str, view: str = RUNS) -> str:
    """Return the path of an experiment's view. Without `workflowType`, MLflow shows traces of language models."""
    mode = "&compareRunsMode=CHART" if view == CHARTS else ""
    return f"/experiments/{experiment_id}/runs?workflowType=machine_learning{mode}&viewStateShareKey={view}"


def links(experiment_id: str, parent: str) -> str:
    """Return Markdown links from a sweep's parent run to its report and the charts of its runs."""
    report = f"#/experiments/{experiment_id}/runs/{parent}/artifacts/report/index.html"
    return f"[the full report]({report}) · [charts of all runs](#{page(experiment_id, CHARTS)})"


def experiment_tags() -> dict[str, str]:
    """Return an experiment's kind, and its views as "Views → Save as new view" writes them.

    MLflow has no API for views. Versions with another format do not show them.
    """
    return {
        "mlflow.experimentKind": "custom_model_development",
        **_view(RUNS, "Sweeps", TABLE),
        **_view(CHARTS, "Charts", _charts()),
    }


def _view(key: str, name: str, state: dict[str, Any]) -> dict[str, str]:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    return {f"mlflow.sharedViewState.{key}": json.dumps(view)}


def _charts() -> dict[str, Any]:
    """Return charts without parents, as collapsed runs are in no chart; by seed, so the first 100 include all networks."""
    section = "the gap"
    width, gap = {"key": WIDTH, "type": "PARAM"}, {"key": GAP_POINTS, "type": "METRIC"}
    parallel = {
        "selectedParams": [OPTIMIZER, WIDTH],
        "selectedMetrics": [TEST_PERCENT, GAP_POINTS],
        "showAllRuns": True,
    }
    charts: list[dict[str, Any]] = [
        {"type": "SCATTER", "xaxis": width, "yaxis": gap, "runsCountToCompare": 100},
        {"type": "PARALLEL", **parallel},
        *({"type": "LINE", "metricKey": name, "range": {}, "xAxisKey": "step", "lineSmoothness": 0} for name in CURVES),
    ]
    return {
        **TABLE,
        "searchFilter": "tags.status = 'finished'",
        "orderByKey": f"params.`{SEED}`",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": True,
        "isAccordionReordered": True,
        "compareRunSections": [{"uuid": section, "name": section, "display": True}],
        "compareRunCharts": [
            chart | {"uuid": str(place), "metricSectionId": section} for place, chart in enumerate(charts)
        ],
    }


def pages(client: MlflowClient) -> dict[str, str]:
    """Return the pages of the newest experiments by name: runs and charts."""
    found: dict[str, str] = {}
    # One more, since MLflow's "Default" experiment is not shown.
    newest = [each for each in client.search_experiments(max_results=SHOWN + 1) if each.name != "Default"]
    for experiment in newest[:SHOWN]:
        found[experiment.name] = page(experiment.experiment_id)
        found[f"{experiment.name}, charts"] = page(experiment.experiment_id, CHARTS)
    return found


# --- the server of `make ui`


def create_app() -> FastAPI:
    """Return MLflow's app. MLflow calls this in the server process."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import create_fastapi_app

    app.after_request(_with_script)
    return create_fastapi_app(app)


def _with_script(response: Response) -> Response:
    from flask import request
    from mlflow.tracking import MlflowClient

    if request.path == "/" and response.status_code == 200:
        response.direct_passthrough = False
        first = next(iter(pages(MlflowClient(os.environ[STORE])).values()), "/experiments")
        response.set_data(response.get_data(as_text=True).replace("<head>", SCRIPT % first, 1))
        for name in ("ETag", "Last-Modified"):  # they describe the page without the script
            response.headers.pop(name, None)
    return response
