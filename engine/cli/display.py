"""Shows what the program is doing, so that it is never silent for long: on a terminal a spinner, else lines on stderr.

rich is imported after the first line, which stands there before anything slow is imported.
"""

import os
import sys
import threading
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from core.activity import WATCH, Activity
from core.text import shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

DUMB = ("dumb", "unknown")  # values of TERM for which rich shows nothing that moves
TICK = 0.25  # seconds between two looks
EVERY = 2.5  # seconds between two lines at first; some libraries hold Python for as long
SHARE = 0.02  # of an activity's age, between two of its lines, where that is longer


@cache
def console() -> "Console":
    """The console of standard output, which takes no text for markup: a name may be `[/conv1]` or `:smile:`."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110, markup=False, emoji=False, highlight=False)


class Display(threading.Thread):
    """Shows the innermost of `core.activity`'s activities for the length of a block.

    On a terminal the spinner goes where standard output goes, so that lines printed meanwhile stand above it; to
    standard error if only that is a terminal.
    """

    def __init__(self) -> None:
        super().__init__(name="display", daemon=True)
        self.over = threading.Event()
        self.live: Live | None = None
        self.terminal = (sys.stdout.isatty() or sys.stderr.isatty()) and os.environ.get("TERM") not in DUMB

    def __enter__(self) -> Self:
        WATCH.changed, WATCH.spoken = self._changed, 0.0
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        WATCH.changed = lambda: None
        self.over.set()
        self._clear()

    def _changed(self) -> None:
        """The first activity is shown at once, by the thread that begins it."""
        if not WATCH.stack:
            self._clear()
        elif self.terminal and self.live is None:
            self._spin(WATCH.stack[-1])
        elif not WATCH.spoken:
            self._tell(WATCH.stack[-1])

    def _spin(self, first: Activity) -> None:
        if not WATCH.spoken:
            sys.stderr.write(f"{shown(first)}\r")
            sys.stderr.flush()
            WATCH.speak()
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        where = console() if sys.stdout.isatty() else Console(stderr=True, markup=False, emoji=False)
        self.spinner = Spinner("line" if where.options.ascii_only else "dots")
        self.live = Live(
            console=where,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.live.start()

    def _picture(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        stack = list(WATCH.stack)
        self.spinner.update(text=Text(shown(stack[-1]) if stack else ""))
        parts: list[Any] = [activity.details() for activity in stack if activity.details]
        return Group(self.spinner, *parts)

    def _clear(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def run(self) -> None:
        """Tell, where there is no terminal, of what takes long."""
        while not self.terminal and not self.over.wait(TICK):
            stack = list(WATCH.stack)
            if stack and self._is_due(stack[-1]):
                self._tell(stack[-1])

    def _is_due(self, activity: Activity) -> bool:
        silent = Activity("", began=WATCH.spoken).seconds
        return silent > max(EVERY, SHARE * activity.seconds)

    def _tell(self, activity: Activity) -> None:
        WATCH.speak()
        print(shown(activity), file=sys.stderr, flush=True)
