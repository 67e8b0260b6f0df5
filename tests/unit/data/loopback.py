"""A real HTTP server on 127.0.0.1 that misbehaves on demand."""

import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


class Server:
    """Serve `files` by name. `answer` sends the response; `asked` lists the requested names."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.answer: Answer = good
        self.asked: list[str] = []
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            closing = self.closing

            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                server.asked.append(name)
                with suppress(OSError):  # the client hangs up, as it should
                    server.answer(self, server.files.get(name, b""))

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()


def good(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _start(handler, 200, {"Content-Length": str(len(body))})
    handler.wfile.write(body)


def cut_without_length(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _start(handler, 200, {})
    handler.wfile.write(body[: len(body) // 2])


def status(code: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        _start(handler, code, {"Content-Length": "5"})
        handler.wfile.write(b"sorry")

    return answer


def redirect(target: str) -> Answer:
    """Redirect to `target`, in which `{path}` stands for the requested path."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        _start(handler, 302, {"Location": target.format(path=handler.path), "Content-Length": "5"})
        handler.wfile.write(b"moved")

    return answer


def redirect_once(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    (good if handler.path.startswith("/moved") else redirect("/moved{path}"))(handler, body)


def silent(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.closing.wait(30)  # type: ignore[attr-defined]


def dripping(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _start(handler, 200, {"Content-Length": str(len(body))})
    for byte in body:
        handler.wfile.write(bytes([byte]))
        if handler.closing.wait(0.05):  # type: ignore[attr-defined]
            return


def endless(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _start(handler, 200, {})
    while not handler.closing.is_set():  # type: ignore[attr-defined]
        handler.wfile.write(bytes(1 << 16))


def _start(handler: BaseHTTPRequestHandler, code: int, headers: dict[str, str]) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
