"""Draws figures as SVG files: in processes of their own, each on a core, and only those that are not drawn yet.

A drawing process imports neither pandas nor Altair; the drawing library alone takes a second before its first figure.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import escape
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from core.aside import cores, python
from core.files import write_text

MOST = 4  # drawing processes: a report has a dozen figures, and each process starts the library
Job = tuple[dict[str, Any], str, str]
"""what `svg` takes: a specification with its theme, the title, the version of Vega-Lite"""


def svg(spec: Mapping[str, Any], title: str, version: str) -> str:
    """A specification as an `<svg>` element, the same text for the same data."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(dict(spec), version)
    opening, _, rest = drawn.partition(">")
    return f"{opening}><title>{escape(title)}</title>{_renumbered(rest)}"


def _renumbered(svg: str) -> str:
    """Renumber the ids of clips and gradients from 1, as Vega counts them over the life of the process."""
    numbers: dict[str, int] = {}

    def count(found: re.Match[str]) -> str:
        return f"{found[1]}{numbers.setdefault(found[0], len(numbers) + 1)}"

    return re.sub(r'((?<=id=")(?:clip|gradient_)|(?<=url\(#)(?:clip|gradient_))\d+', count, svg)


def draw(jobs: Mapping[Path, Job], known: Mapping[str, str], pens: "Pens") -> dict[str, str]:
    """Write each file whose job or content is another than at the last drawing; returns each file's mark.

    `known`: the marks of the last drawing, by the files' names. A mark is a hash of the job, of what draws it, and of
    the file's content, so that a damaged file is drawn again.
    """
    causes = {file: _cause(job) for file, job in jobs.items()}
    missing = [file for file in jobs if known.get(file.name) != _mark(file, causes[file])]
    for file, text in zip(missing, pens.draw([jobs[file] for file in missing]), strict=True):
        write_text(file, text)
    return {file.name: _mark(file, cause) for file, cause in causes.items()}


def _cause(job: Job) -> bytes:
    from importlib.metadata import version

    of = [job, version("vl-convert-python"), Path(__file__).read_text(encoding="utf-8")]
    return json.dumps(of, ensure_ascii=False).encode()


def _mark(file: Path, cause: bytes) -> str:
    with suppress(OSError):
        return hashlib.sha256(cause + file.read_bytes()).hexdigest()
    return ""


class Pens:
    """Drawing processes, which `start` together or when there is something to draw; a context manager that ends them.

    With a single core, or where one cannot be started or is lost, this process draws.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = min(MOST, cores() - 1) if most is None else most
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        with suppress(OSError):
            while len(self.running) < self.most:
                self.running.append(_process())

    def draw(self, jobs: list[Job]) -> list[str]:
        """The SVGs of the jobs, in their order."""
        if not jobs:
            return []
        self.start()
        free: SimpleQueue[Callable[[Job], str]] = SimpleQueue()
        for process in self.running:
            free.put(_Pen(process))
        if not self.running:
            return [svg(*job) for job in jobs]

        def drawn(job: Job) -> str:
            pen = free.get()
            try:
                return pen(job)
            finally:
                free.put(pen)

        with ThreadPoolExecutor(len(self.running)) as threads:
            return list(threads.map(drawn, jobs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.running:
            process.kill()
            process.communicate()
        self.running = []


class _Pen:
    """A drawing process: a job goes in as a line of JSON, the SVG comes out as one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, job: Job) -> str:
        assert self.process.stdin
        assert self.process.stdout
        with suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            return str(json.loads(self.process.stdout.readline()))
        return svg(*job)  # it is lost, or the figure cannot be drawn, which is told here


def _process() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        python(__name__, "serve"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C goes to the report, which then ends this process
    )


def serve() -> None:
    """Draw each job of standard input, from the first second on ready to."""
    import vl_convert

    vl_convert.vegalite_to_svg({"data": {"values": []}, "mark": "point"})
    for line in sys.stdin:
        print(json.dumps(svg(*json.loads(line))), flush=True)
