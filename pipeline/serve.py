"""The champion as a service on 127.0.0.1: python -m pipeline.serve [dataset=mnist] [port=5001]. Ctrl-C ends it.

It takes raw pixels and gives classes and probabilities:

    curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{"inputs": [[[0, 0, …], …]]}'
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import console, servers
from pipeline.errors import UserError
from pipeline.servers import HOST
from pipeline.tracking import SQLITE, open_tracker, registry

DEFAULTS = {"dataset": "mnist", "port": "5001", "tracking": SQLITE}


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS, __doc__ or "")
    tracker = open_tracker(values["tracking"])
    champion = registry.champion(tracker, values["dataset"])
    if champion is None:
        raise UserError(
            f"there is no champion for dataset={values['dataset']} yet: python -m pipeline.promote makes one"
        )
    port = servers.port_of(values["port"], "python -m pipeline.serve")
    model = f"models:/{registry.name_of(values['dataset'])}@{registry.ALIAS}"
    command = ["-m", "uvicorn", "--factory", "pipeline.tracking.guarded:app", "--host", HOST, "--port", str(port)]
    command += ["--log-level", "warning"]
    settings = {
        "__pyfunc_model_path__": model,  # MLflow's name for it
        # Not as words of the command: `ps` shows those to everybody, and an address may hold a password.
        "MLFLOW_TRACKING_URI": tracker.uri,
        "MLFLOW_REGISTRY_URI": tracker.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "PYTHONPATH": str(console.PROJECT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    name = f"{champion.run_name} (version {champion.version})"
    servers.run(
        command, settings, port, "ping", lambda: f"{name} answers at http://{HOST}:{port}/invocations (Ctrl-C ends it)"
    )
    return 0


if __name__ == "__main__":
    console.run(main)
