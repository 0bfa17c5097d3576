"""The report on loopback: its files, to this machine's own browser alone."""

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.report.server import server


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "index.html").write_text("<p>the answer</p>")
    (folder / "figures").mkdir()
    (tmp_path / "study.json").write_text("{}")
    (folder / "out.json").symlink_to(tmp_path / "study.json")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "figures" / "index.html").symlink_to(tmp_path / "study.json")
    (folder / "same.html").symlink_to(folder / "index.html")
    with server(folder) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1]
        running.shutdown()


def answer(port: int, path: str, host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    response = connection.getresponse()
    return response.status, response.read().decode()


@pytest.mark.parametrize("host", ["", "localhost:1", "127.0.0.1"])
def test_the_page_is_served_by_this_machines_names(port: int, host: str) -> None:
    assert answer(port, "/", host) == (200, "<p>the answer</p>")


def test_another_name_is_refused(port: int) -> None:
    assert answer(port, "/", "evil.example")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        *("/../study.json", "/%2e%2e/study.json", "//study.json", "/missing", "/figures/../../study.json"),
        *("/out.json", "/up/study.json", "/up/", "/up", "/loop", "/figures/", "/figures", "/index.html%00"),
        *("/" + "x" * 5000, "/%ff", "/..%2fstudy.json", "/%5c..%5cstudy.json"),
    ],
)
def test_nothing_beside_the_report_is_served(port: int, path: str) -> None:
    assert answer(port, path)[0] == 404


def test_a_link_within_the_report_is_followed(port: int) -> None:
    assert answer(port, "/same.html") == (200, "<p>the answer</p>")


@pytest.mark.parametrize("asked", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50])
def test_a_browser_that_hangs_up_prints_nothing(port: int, asked: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset at its close
        client.sendall(asked)
    assert answer(port, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    with server(tmp_path) as made:
        assert made.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with server(tmp_path) as made, pytest.raises(OSError, match="in use"):
        server(tmp_path, made.server_address[1])
