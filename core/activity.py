"""What the program is doing now, for whoever shows it: `doing` around what takes long, with its steps counted.

Nothing here writes anything: the command line watches (`engine.cli.display`); elsewhere nobody does.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Text = str | Callable[[], str]


@dataclass
class Activity:
    """What takes long: its `text`, and how many of `total` steps are done, if they are counted."""

    text: Text
    total: int = 0
    done: int = 0
    details: Callable[[], Any] | None = None
    """what a terminal shows below, for rich"""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def __str__(self) -> str:
        text = self.text if isinstance(self.text, str) else self.text()
        if self.total:
            rate = self.done / max(self.seconds, 1e-9)
            text += f": {self.done} of {self.total}, {rate:.3g} a second"
        return f"{text}, {self.seconds:.0f} s" if self.seconds >= 1 else text


@dataclass
class Watch:
    """The activities in progress, the innermost last, and who is told when one begins or ends."""

    stack: list[Activity] = field(default_factory=list)
    changed: Callable[[], None] = lambda: None
    spoken: float = 0.0
    """when a line was last printed, on the clock of `time.monotonic`"""

    def speak(self) -> None:
        self.spoken = time.monotonic()


WATCH = Watch()


@contextmanager
def doing(text: Text, total: int = 0, details: Callable[[], Any] | None = None) -> Iterator[Activity]:
    """The block does what `text` says; it adds to the activity's `done` if it counts."""
    activity = Activity(text, total, details=details)
    WATCH.stack.append(activity)
    WATCH.changed()
    try:
        yield activity
    finally:
        WATCH.stack.remove(activity)
        WATCH.changed()
