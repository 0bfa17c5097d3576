"""Serves a run's report to browsers on this machine only."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
NOWHERE = "/dev/null/nothing"


class Handler(SimpleHTTPRequestHandler):
    """Serves the files of one folder: what a link leads to elsewhere is none of them, and folders are not listed (404).
    A request for another host name is from a foreign page and is refused (403).
    """

    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.headers.get("Host", "").partition(":")[0] in NAMES:
            return True
        self.send_error(403, "served on loopback only")
        return False

    def translate_path(self, path: str) -> str:
        """The file of a path; a name that no file has for what lies outside of the folder."""
        try:
            found, folder = Path(super().translate_path(path)).resolve(), Path(self.directory).resolve()
            page = found / "index.html" if found.is_dir() else found
            return str(found) if page.resolve().is_relative_to(folder) and page.is_file() else NOWHERE
        except (OSError, ValueError, RuntimeError):  # a NUL, a name too long, a link to itself
            return NOWHERE

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # the page is rewritten while its run is in progress
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def server(folder: Path, port: int = 0) -> Server:
    """A server of `folder` at http://127.0.0.1:PORT/, not started yet; OSError where the port is taken."""
    return Server((LOOPBACK, port), partial(Handler, directory=str(folder)))
