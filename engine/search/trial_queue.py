"""Queues trials for Ray Tune, for ablations and searches alike: one by one, or short ones in bundles."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any, Literal

from ray.tune.search import Searcher

from trainables.fused.autotune import MOST
from trainables.fused.programs import fusion_key
from trainables.trial.spec import TrialSpec

BUNDLE_SECONDS = 5.0  # of work per Ray trial, beside which Ray's few hundredths of a second do not matter
SHORTEST = 0.02  # seconds that a trial is assumed to last at least
AHEAD = 4  # search for trials of one kind among so many times the trials of one program
RECENT = 20  # ended trials whose mean duration predicts that of the next ones


class TrialQueue(Searcher):
    """A queue of trials, as a Ray Tune searcher. A subclass may refill it and react to `on_trial_end`.

    `processes`: how many Ray trials run at a time; short trials are then bundled, several to one Ray trial. None: each
    Ray trial runs one of ours, so that a trial scheduler can decide on it epoch by epoch.
    `fuse`: how many trials of one kind are trained as one program.
    """

    def __init__(self, specs: Iterable[TrialSpec] = ()) -> None:
        super().__init__()
        self.running: set[str] = set()
        self.bundled: set[str] = set()
        """running trials that share a Ray trial with others"""
        self.processes: int | None = None
        self.fuse: int | Literal["auto"] = 1
        self.kinds: dict[str, str] = {}
        self.seconds: deque[float] = deque(maxlen=RECENT)
        """durations of the last ended trials"""
        self.waiting: deque[dict[str, Any]] = deque()
        self.exhausted = False
        """whether Ray Tune has been told that no trial is left"""
        for spec in specs:
            self.enqueue(spec)

    def enqueue(self, spec: TrialSpec, **chosen: Any) -> None:
        """Queue a trial, with further fields of its start event: of a search `point`, the values chosen, and
        `proposal`, the number of the proposal."""
        self.waiting.append({"spec": spec.to_dict(), **chosen})

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Drop the queued trials that are not wanted now."""
        self.waiting = deque(item for item in self.waiting if wanted(item["spec"]["trial"]))

    def stop_at(self, epochs: Mapping[str, int]) -> None:
        """Let queued trials end at the epoch at which their stop was decided (by trial key)."""
        for item in self.waiting:
            segment = item["spec"]["segment"]
            segment["until"] = epochs.get(item["spec"]["trial"], segment["until"])

    def refill(self) -> bool:
        """Queue more trials if there are any; returns whether one was queued."""
        return False

    def remaining(self) -> int:
        """How many trials can start without knowing how those that run now end."""
        return len(self.waiting)

    def note_duration(self, seconds: float) -> None:
        """Called with the duration of a trial that has ended."""
        self.seconds.append(seconds)

    def on_trial_end(self, trial: str) -> None:
        """Called once a trial's end is in the log."""
        self.on_trial_left(trial)

    def may_grow(self) -> bool:
        """Whether trials that run now may lead to new ones."""
        return False

    def on_trial_left(self, trial: str) -> None:
        """Called when a trial left its process without an end: it paused, or ran out of memory."""
        self.running.discard(trial)
        self.bundled.discard(trial)

    def requeue(self, items: Iterable[dict[str, Any]], apart: bool = False) -> None:
        """Queue trials of a lost process again; `apart`: each alone, as one of them may be the cause."""
        for item in items:
            self.on_trial_left(item["spec"]["trial"])
            self.waiting.append({**item, "apart": True} if apart else item)

    def suggest(self, trial_id: str) -> Any:
        """The config of Ray's next trial, None for later, or FINISHED."""
        wanted = self._bundle_size()
        seen = wanted if self.processes is None or self.fuse == 1 else max(wanted, AHEAD * self._most)
        while len(self.waiting) < seen and self.refill():
            pass
        if not self.waiting:
            self.exhausted = not (self.bundled or self.may_grow())
            return Searcher.FINISHED if self.exhausted else None
        bundle, lanes = self._next_bundle(wanted)
        trials = {item["spec"]["trial"] for item in bundle}
        self.running |= trials
        self.bundled |= trials if len(trials) > 1 else set()
        return {"bundle": bundle, "lanes": lanes}

    @property
    def _most(self) -> int:
        """The most trials that one program trains."""
        return self.fuse if isinstance(self.fuse, int) else MOST

    def _next_bundle(self, wanted: int) -> tuple[list[dict[str, Any]], int | str]:
        """(the next bundle, how many of its trials share a program); if they share one, all are of the same kind."""
        first = self.waiting[0]
        if first.get("apart"):
            return [self.waiting.popleft()], 1 if self.fuse == "auto" else self.fuse
        if self.processes is None or self.fuse == 1:
            bundle: list[dict[str, Any]] = []
            while len(bundle) < wanted and self.waiting and not self.waiting[0].get("apart"):
                bundle.append(self.waiting.popleft())
            return bundle, 1
        bundle, lanes = self._bundle_of_a_kind(first, wanted)
        taken = {item["spec"]["trial"] for item in bundle}
        self.waiting = deque(item for item in self.waiting if item["spec"]["trial"] not in taken)
        return bundle, lanes

    def _bundle_of_a_kind(self, first: dict[str, Any], wanted: int) -> tuple[list[dict[str, Any]], int | str]:
        """`first` with others of its kind, to share a program; with `auto`, if there are none, with other such trials.

        With `auto` the trials of a kind are spread over all processes.
        """
        assert self.processes is not None
        free = [item for item in self.waiting if not item.get("apart")]
        counts = Counter(map(self._kind, free))
        same = [item for item in free if self._kind(item) == self._kind(first)]
        most = max(wanted // self._most, 1) * self._most
        if self.fuse == "auto":
            most = min(most, -(-len(same) // self.processes))
        if most > 1:
            return same[:most], self.fuse
        others = [item for item in free if item is not first and counts[self._kind(item)] == 1]
        return [first, *others][:wanted], 1

    def _kind(self, item: dict[str, Any]) -> str:
        trial = item["spec"]["trial"]
        if trial not in self.kinds:
            self.kinds[trial] = fusion_key(item["spec"])
        return self.kinds[trial]

    def _bundle_size(self) -> int:
        """The size of the next bundle, which shrinks towards the end so that all processes end together."""
        if self.processes is None or len(self.seconds) < self.processes:
            return 1
        lasts = max(SHORTEST, fmean(self.seconds))
        return max(1, min(int(BUNDLE_SECONDS / lasts), self.remaining() // (2 * self.processes)))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """No-op: RunLogCallback calls `on_trial_end`; Ray's completions do not tell errors from retries."""

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Ray pickles its searcher into an experiment state that nothing reads."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """No-op: the log holds every proposal and outcome."""

    def restore(self, checkpoint_path: str) -> None:
        """No-op: a new queue is made from the log."""
