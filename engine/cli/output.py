"""Standard output and error that never end the program: what they cannot take is replaced or dropped. `echo` prints.

A pipe that closes (`| head -1`), a terminal that is gone, a full disk behind `>`: the run goes on, and its exit status
tells of its trials. A terminal that has no character for a sign gets the nearest plain one, so that a minus stays one.
"""

import codecs
import io
import os
import sys
from typing import IO, Any

import click

from core.text import shown

PLAIN = str.maketrans(
    {
        **dict.fromkeys("−–—·", "-"),  # minus, dashes, middle dot
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("“”", '"'),
        **{"•": "*", "…": "...", "×": "x", "→": "->", "±": "+/-", "≤": "<=", "≥": ">="},
    }
)


def echo(text: object = "", err: bool = False, nl: bool = True) -> None:
    """Print a line of ours, whoever its names are from: without secrets, and with nothing that a terminal obeys."""
    click.echo(shown(text), err=err, nl=nl)


def plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: the signs of `PLAIN`, and `?` for other characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "replace").decode(), error.end


class Lasting(io.FileIO):
    """A file descriptor to which every write succeeds; what the system refuses is dropped."""

    def write(self, data: Any, /) -> int:
        """Bytes taken: those that were written, or all of them if nothing can be."""
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


class LastingText(io.TextIOWrapper):
    """A text stream without `buffer`, which click would use to write UTF-8 on a terminal that has only ASCII."""

    buffer = None  # type: ignore[assignment]


def keep_writing() -> None:
    """Make `sys.stdout` and `sys.stderr` of this process streams to which writing cannot fail."""
    codecs.register_error("plain", plain)
    # With a descriptor closed (`>&-`), the next file opened, such as the log, would get what libraries print.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def _lasting(stream: IO[str] | None, descriptor: int) -> IO[str]:
    raw = Lasting(descriptor, "w", closefd=False)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = descriptor == 2 or raw.isatty()
    return LastingText(io.BufferedWriter(raw), encoding, "plain", line_buffering=lines)
