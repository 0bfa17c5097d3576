"""Serves a run's report to browsers on this machine only."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")


class Handler(SimpleHTTPRequestHandler):
    """Serves the files of one folder; a request for another host name is from a foreign page and is refused (403)."""

    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.headers.get("Host", "").partition(":")[0] in NAMES:
            return True
        self.send_error(403, "served on loopback only")
        return False

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # the page is rewritten while its run is in progress
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of `folder` at http://127.0.0.1:PORT/, not started yet; OSError where the port is taken."""
    return ThreadingHTTPServer((LOOPBACK, port), partial(Handler, directory=str(folder)))
