"""The generations of a population: after which epochs each ends, and the segments of a member's trial."""

from collections.abc import Sequence
from dataclasses import replace

from engine.runlog.history import History
from search_spaces.spaces import Settings
from search_spaces.trial_schedulers import PBT
from trainables.schedules import epochs_of
from trainables.trial.spec import TrialSpec


def boundaries(settings: PBT, epochs: int) -> list[int]:
    """Epochs after which a generation ends; the last is the budget's."""
    interval = epochs_of(settings.interval, epochs)
    return [*range(interval, epochs, interval), epochs]


def segments(
    spec: TrialSpec, point: Settings, history: History, ends: Sequence[int]
) -> list[tuple[TrialSpec, Settings]]:
    """A member's trial as segments, up to the last decided generation: each begins where the one before paused."""
    parts, begins, donor = [], 0, None
    for end in ends:
        last = end == ends[-1]
        until = None if last else end
        segment = replace(spec.segment, begins=begins, donor=donor, until=until, pause=not last)
        parts.append((replace(spec, segment=segment), point))
        if last or (spec.seed, end) not in history.generations:
            break
        begins, donor = end, None
        if taken := history.generations[spec.seed, end].get(spec.trial):
            spec, point, donor = replace(spec, config=taken["config"]), taken["point"], taken["donor"]
    return parts
