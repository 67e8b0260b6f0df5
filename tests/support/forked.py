"""A `python` that starts fast: `python -m MODULE` runs in a fork of one process that has imported the libraries.

Otherwise each command in a clone would spend 6 s of CPU time on importing TensorFlow and MLflow. Each command imports
the project's own code from the current folder. Signals are not forwarded, so commands must end by themselves.
"""

import json
import os
import signal
import socket
import sys

DECIDED = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": f"{os.devnull}/keras",
    "KERAS_NNX_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "XLA_FLAGS": "--xla_cpu_enable_concurrency_optimized_scheduler=false --xla_cpu_multi_thread_eigen=false",
}
"""Settings that take effect at import and can change bits, with the values of pipeline/models/devices.py."""

UNUSED = ("jax", "sklearn", "matplotlib")
"""Packages that devices.py hides while TensorFlow is imported."""

LIBRARIES = (
    "altair",
    "dvc.cli",
    "dvc.repo",
    "hydra",
    "mlflow",
    "optuna",
    "pydantic",
    "requests",
    "rich",
    "scipy.stats",
)


def load() -> None:
    import gc
    from importlib import import_module

    os.environ.update(DECIDED)
    sys.modules.update(dict.fromkeys(UNUSED))
    import_module("keras")
    for name in UNUSED:
        del sys.modules[name]
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()


def serve(listening: socket.socket, parent: int) -> None:
    """Serve until process `parent` has ended. Returns only in a fork, which then runs the module in `sys.argv`."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening.settimeout(1)
    while True:
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            os.kill(parent, 0)
            continue
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            return answer(connection)
        connection.close()


def answer(connection: socket.socket) -> None:
    """Fork, and send the exit status of the child to the client. Returns only in the child."""
    connection.setblocking(True)
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    words, folder, environment = json.loads(connection.makefile().readline())
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.send(bytes([status % 256]))
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment | DECIDED)
    sys.path[0], sys.argv = folder, words


def ask(address: str, words: list[str]) -> int:
    """Run `python -m …` in the current folder, with the streams of this process, and return its exit status."""
    if words[:1] != ["-m"]:
        os.execv(sys.executable, [sys.executable, *words])
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [b"."], [0, 1, 2])
        server.sendall(f"{json.dumps([words[1:], os.getcwd(), dict(os.environ)])}\n".encode())
        return server.recv(1)[0]


if __name__ == "__main__":
    if sys.argv[1] != "serve":
        raise SystemExit(ask(sys.argv[1], sys.argv[2:]))
    load()
    serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
    import runpy

    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
