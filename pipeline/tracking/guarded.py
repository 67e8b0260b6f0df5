"""MLflow's server of one model, for questions that name this machine: what uvicorn runs for `pipeline.serve`.

MLflow's UI refuses a foreign `Host` by itself, its server of models does not: a page in the person's browser whose name
is made to mean 127.0.0.1 could ask it.
"""

from __future__ import annotations

from typing import Any


def app() -> Any:
    """The ASGI application. Loads the model that the variable `__pyfunc_model_path__` names."""
    from mlflow.pyfunc.scoring_server.app import app as scoring
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return TrustedHostMiddleware(scoring, allowed_hosts=["127.0.0.1", "localhost"])
