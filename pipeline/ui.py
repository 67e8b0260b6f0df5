"""Start the MLflow UI for this project's runs on 127.0.0.1: python -m pipeline.ui port=5000. Ctrl-C stops it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from pipeline.cli import console, terminal, ui_address
from pipeline.cli.errors import UserError
from pipeline.cli.signals import Stopped
from pipeline.config import machine
from pipeline.tracking import NONE, SQLITE, Tracker, front, open_tracker, server
from pipeline.tracking.address import DATABASE, home

DEFAULTS = {"port": "5000"}


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, DEFAULTS, __doc__ or "")
    kind, uri = machine.tracking()
    tracker = open_tracker(SQLITE if kind == NONE else kind, uri)
    if tracker.address.uri.startswith("http"):
        print(f"the runs are on the MLflow server at {tracker.address.shown}: open that address")
        return 0
    port = server.free_port(values["port"])
    address = f"http://{server.HOST}:{port}"
    terminal.show("starting MLflow")
    tracker.warm()
    try:
        with server.showing(tracker, port) as process:
            terminal.clear()
            print(f"MLflow shows the runs of {tracker.address.shown} at {address} (Ctrl-C stops it)", flush=True)
            note_address(tracker, address)
            with tracker.connection.exclusive("list the experiments") as client:
                pages = front.pages(client)
            for name, page in pages.items():
                print(f"  {name}: {address}/#{page}", flush=True)
            if status := process.wait():
                raise UserError(f"the MLflow server ended with exit status {status}; its last messages are above")
    except Stopped as stopped:
        return stopped.exit_status if stopped.number == signal.SIGTERM else 0
    return 0


def note_address(tracker: Tracker, address: str) -> None:
    """Let the next report link to this server, if it shows this project's store."""
    if tracker.address.database == home() / DATABASE:
        ui_address.write(home(), address)


if __name__ == "__main__":
    console.run(main)
