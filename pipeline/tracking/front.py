"""MLflow's server for `make ui`: its page opens at runs, where MLflow's own opens at traces of language models and an assistant.

MLflow finds it by the entry point `mlflow.app` of this project.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.tracking import views

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Response

NAME, STORE = "runs-first", "MLFLOW_BACKEND_STORE_URI"
SCRIPT = """<head><script>
for (const [name, value] of [["workflowType", '"machine_learning"'], ["assistant.fab.autoOpenedOnFirstLoad", "true"]])
  localStorage.getItem(`mlflow.${name}_v1`) ?? localStorage.setItem(`mlflow.${name}_v1`, value);
if (location.hash.length < 3) location.hash = "%s";
</script>"""
"""What a browser remembers of MLflow, unless it does already. A version that names it otherwise opens as it would anyway."""


def create_app() -> FastAPI:
    """MLflow's app, which calls this in the server's process."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import create_fastapi_app

    app.after_request(_with_script)
    return create_fastapi_app(app)


def _with_script(response: Response) -> Response:
    from flask import request
    from mlflow.tracking import MlflowClient

    if request.path == "/" and response.status_code == 200:
        response.direct_passthrough = False
        first = next(iter(views.pages(MlflowClient(os.environ[STORE])).values()), "/experiments")
        response.set_data(response.get_data(as_text=True).replace("<head>", SCRIPT % first, 1))
        for name in ("ETag", "Last-Modified"):  # of the page without the script
            response.headers.pop(name, None)
    return response
