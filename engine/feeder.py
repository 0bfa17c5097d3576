"""Hands trials to Ray Tune one by one, for ablations and searches alike."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher

from trainables.trial import TrialSpec


class Feeder(Searcher):
    """A queue of trials. A subclass that knows how to go on refills it, and is told by `over` which trials ended."""

    def __init__(self, specs: Iterable[TrialSpec] = ()) -> None:
        super().__init__()
        self.running: set[str] = set()
        self.waiting: deque[dict[str, Any]] = deque()
        for spec in specs:
            self.put(spec)

    def put(self, spec: TrialSpec, point: dict[str, Any] | None = None) -> None:
        """Queue a trial; `point` is what a search chose for it."""
        self.waiting.append({"spec": spec.to_dict(), **({} if point is None else {"point": point})})

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Drop the queued trials that are not wanted now."""
        self.waiting = deque(item for item in self.waiting if wanted(item["spec"]["trial"]))

    def end_at(self, epochs: Mapping[str, int]) -> None:
        """Let queued trials end at the epoch that their stop was decided at."""
        for item in self.waiting:
            item["spec"]["until"] = epochs.get(item["spec"]["trial"], item["spec"]["until"])

    def refill(self) -> bool:
        """Whether anything new was queued."""
        return False

    def over(self, trial: str) -> None:
        """Told once a trial's end is in the log."""
        self.running.discard(trial)

    def waits(self) -> bool:
        """Whether trials that run now may lead to new ones."""
        return False

    def away(self, trial: str) -> None:
        """Told that a trial left its process without an end: it paused, or ran out of memory."""
        self.running.discard(trial)

    def suggest(self, trial_id: str) -> Any:
        """The next trial's Ray config, None for later, or FINISHED."""
        if not self.waiting and not self.refill():
            return None if self.waits() else Searcher.FINISHED
        config = self.waiting.popleft()
        self.running.add(config["spec"]["trial"])
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the recorder tells `over`, which Ray's word of errors and retries cannot stand for."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its searcher into an experiment state that nothing reads."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the log holds every proposal and outcome."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a new feeder is made from the log."""


class Deadline(Stopper):
    """Ray's experiment-wide stopper: when the time budget is spent, running trials end where their checkpoints are."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.began = seconds, time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.began > self.seconds
