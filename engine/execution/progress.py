"""Progress while trials run: a live block of lines on a terminal, else one plain line per finished trial."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.activity import WATCH
from core.text import shown, visible

BADLY = ("failed", "diverged")


@dataclass
class Progress:
    """Counts of one run. `total`: the plan's trials; `done`: those that have ended, at first in earlier sessions."""

    console: Console
    total: int
    total_epochs: int
    metric: str
    maximise: bool
    done: int = 0
    ended_as: dict[str, int] = field(default_factory=dict)
    running: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    best: tuple[float, str] | None = None
    epochs: int = 0
    began: float = field(default_factory=time.monotonic)

    def started(self, trial: str, cell: str, seed: int) -> None:
        self.running[trial] = (cell, seed, 0)

    def epoch(self, trial: str, row: dict[str, Any]) -> None:
        cell, seed, _ = self.running.get(trial, (trial, 0, 0))
        self.running[trial] = (cell, seed, row["epoch"])
        self.epochs += 1

    def ended(self, trial: str, end: dict[str, Any]) -> None:
        cell, seed, _ = self.running.pop(trial, (trial, 0, 0))
        self.done += 1
        self.ended_as[end["status"]] = self.ended_as.get(end["status"], 0) + 1
        value = (end.get("selected") or {}).get(self.metric)
        if value is not None and (self.best is None or (value > self.best[0]) == self.maximise):
            self.best = (value, f"{cell} seed {seed}")
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            self.say(self._line(cell, seed, end, value))

    def say(self, text: str) -> None:
        """Print a line for the user."""
        teller(self.console)(text)
        WATCH.speak()

    def replanned(self, total: int, epochs: int, reused: int) -> None:
        """The plan now has `total` trials, `reused` more of them are taken over, and `epochs` are left to train."""
        self.done += reused
        self.total, self.total_epochs = total, self.epochs + epochs

    def paused(self, trial: str) -> None:
        """Called when a trial waits for the others of its population."""
        self.running.pop(trial, None)

    def enlarged(self, trial: str) -> None:
        """Called when a trial ran out of memory and is left for later."""
        cell, seed, _ = self.running.pop(trial, (trial, 0, 0))
        self.say(f"{cell} seed {seed}: out of memory; it is tried once more with a larger share of the machine")

    def _line(self, cell: str, seed: int, end: dict[str, Any], value: float | None) -> str:
        width = len(str(self.total))
        text = f"[{self.done:{width}}/{self.total}] {cell} seed {seed}: {end['status']}"
        if value is not None:
            text += f", {self.metric} {value:.4f} at epoch {end['selected_epoch']}, {end['seconds']:.1f} s"
        if end.get("error"):
            text += f" ({end['error'].strip().splitlines()[-1]})"
        return f"{text} · {self._left()}"

    def _left(self) -> str:
        if self.done >= self.total:
            return "all done"
        elapsed = time.monotonic() - self.began
        if not self.epochs:
            return "starting"
        rate = self.epochs / elapsed
        left = max(0, self.total_epochs - self.epochs) / rate
        return f"{rate:.1f} epochs/s, about {duration(left)} left"

    def now(self) -> str:
        """What goes on, in a line: counts, speed, how far the trial furthest on is."""
        bad = sum(self.ended_as.get(status, 0) for status in BADLY)
        counts = f"{self.done}/{self.total} trials done, {len(self.running)} running"
        furthest = max(list(self.running.values()), key=lambda each: each[2], default=("", 0, 0))
        at = f" · {furthest[0]} seed {furthest[1]}, epoch {furthest[2]}" if furthest[2] else ""
        return f"training: {counts}{f', {bad} failed or diverged' if bad else ''} · {self._left()}{at}"

    def table(self) -> Table:
        """What a terminal shows below that line."""
        table = Table.grid(padding=(0, 2))
        if self.best:
            table.add_row(Text("best", "bold"), Text(visible(f"{self.metric} {self.best[0]:.4f}  {self.best[1]}")))
        for cell, seed, epoch in list(self.running.values())[:8]:
            table.add_row("running", Text(visible(f"{cell} seed {seed}, epoch {epoch}")))
        return table


def teller(console: Console) -> Callable[[str], None]:
    """Prints a line to the console as it is, but for secrets and what a terminal would obey."""
    return lambda text: console.print(Text(shown(text)), highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
