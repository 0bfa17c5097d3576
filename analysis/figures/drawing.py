"""Draws figures as SVG files: in processes of their own, each on a core, and only those that are not drawn yet.

The drawing library is not Python: what it cannot take may end the process, which then costs one figure and no report.
A drawing process imports neither pandas nor Altair; the library alone takes a second before its first figure.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from core.aside import cores, python
from core.errors import first_line
from core.files import write_text
from core.value_words import cut

MOST = 4  # drawing processes: a report has a dozen figures, and each process starts the library
LONGEST = 200  # characters of why a figure could not be drawn
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


@dataclass(frozen=True)
class Undrawn:
    """A figure that could not be drawn, and why."""

    why: str


@dataclass
class Drawn:
    """What was drawn: each file's mark, and by its name why another could not be drawn."""

    marks: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def draw(jobs: Mapping[Path, Job], known: Mapping[str, str], pens: "Pens") -> Drawn:
    """Write each file whose job or content is another than at the last drawing; one that cannot be drawn is deleted.

    `known`: the marks of the last drawing, by the files' names. A mark is a hash of the job, of what draws it, and of
    the file's content, so that a damaged file is drawn again.
    """
    causes = {file: _cause(job) for file, job in jobs.items()}
    missing = [file for file in jobs if known.get(file.name) != _mark(file, causes[file])]
    made = Drawn()
    for file, text in zip(missing, pens.draw([jobs[file] for file in missing]), strict=True):
        if isinstance(text, Undrawn):
            file.unlink(missing_ok=True)
            made.faults[file.stem] = text.why
        else:
            write_text(file, text)
    made.marks = {file.name: _mark(file, cause) for file, cause in causes.items() if file.stem not in made.faults}
    return made


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

    A lost one is replaced, once for each figure.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = min(MOST, max(1, cores() - 1)) if most is None else most
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        with suppress(OSError):
            while len(self.running) < self.most:
                self.running.append(_process())

    def draw(self, jobs: list[Job]) -> list[str | Undrawn]:
        """The SVGs of the jobs, in their order."""
        if not jobs:
            return []
        self.start()
        if not self.running:
            return [Undrawn("no process can be started to draw it")] * len(jobs)
        free: SimpleQueue[int] = SimpleQueue()
        for place in range(len(self.running)):
            free.put(place)

        def drawn(job: Job) -> str | Undrawn:
            place = free.get()
            try:
                return self._drawn(place, job)
            finally:
                free.put(place)

        with ThreadPoolExecutor(len(self.running)) as threads:
            return list(threads.map(drawn, jobs))

    def _drawn(self, place: int, job: Job) -> str | Undrawn:
        """The SVG by the process at this place, or where that is lost by another one in its place."""
        answer = _ask(self.running[place], job)
        if answer is None:
            with suppress(OSError):
                lost, self.running[place] = self.running[place], _process()
                lost.kill()
                lost.communicate()
                answer = _ask(self.running[place], job)
        if answer is None:
            return Undrawn("the process that draws it was lost twice")
        return answer["svg"] if "svg" in answer else Undrawn(cut(str(answer.get("fault")), LONGEST))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.running:
            process.kill()
            process.communicate()
        self.running = []


def _ask(process: subprocess.Popen[str], job: Job) -> dict[str, Any] | None:
    """A drawing process' answer, {"svg": …} or {"fault": …}; None if it is lost. A job goes in as a line of JSON, the
    answer comes out as one."""
    assert process.stdin
    assert process.stdout
    with suppress(OSError, ValueError):
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return dict(json.loads(process.stdout.readline()))
    return None


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
        try:
            answer = {"svg": svg(*json.loads(line))}
        except Exception as error:  # a fault of this figure
            answer = {"fault": first_line(error)}
        print(json.dumps(answer), flush=True)
