"""The files that trials leave, as the log knows them: which a trial must have, which of them are lost, what that costs.

The end of a trial holds the digest of each; later events say what was made again and what was removed on purpose. Ends
of before there were digests stand for a model and, of a finished trial, for predictions.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from analysis.records.run_directory import RunDirectory
from analysis.records.schema import DIVERGED, FAILED, FINISHED, REMADE
from core.files import CHECKPOINT, found_digest

Event = Mapping[str, Any]
Outputs = Mapping[str, str]
"""by the name of a file from the run's folder its digest; empty where it is not known"""

TRAINED = "trained anew"
EVALUATED = "evaluated again from its checkpoint"
READ = "read again from its checkpoint"
NO_MORE_EPOCHS = "nothing, but that more epochs would be trained anew"
UNUSED = "nothing: is not used any more"
GONE = "cannot be had again: a trial scheduler compared it with others while it trained"


@dataclass(frozen=True)
class Lost:
    """A file that a trial has left and that is missing or damaged."""

    trial: str
    name: str
    missing: bool

    @property
    def what(self) -> str:
        return "is missing" if self.missing else "is damaged: not as it was written"


def after(end: dict[str, Any], event: Event) -> dict[str, Any]:
    """A trial's end with the `outputs` that it has after an event of kind REMADE or REMOVED."""
    outputs = dict(end.get("outputs") or outputs_of(end))
    if event["event"] == REMADE:
        return {**end, "outputs": outputs | event["outputs"]}
    removed = [*end.get("removed", []), *event["files"]]
    kept = {name: digest for name, digest in outputs.items() if name not in removed}
    return {**end, "outputs": kept, "removed": removed}


def outputs_of(end: Event) -> Outputs:
    """The files that a trial with this end has left."""
    if (known := end.get("outputs")) is not None:
        return dict(known)
    trial, status = end["trial"], end["status"]
    model = {model_of(trial): ""} if status not in (DIVERGED, FAILED) and end.get("selected_epoch") else {}
    return model | ({f"predictions/{trial}.parquet": ""} if status == FINISHED else {})


def model_of(trial: str) -> str:
    return f"checkpoints/{trial}/best.pt"


def last_of(trial: str) -> str:
    return f"checkpoints/{trial}/last.pt"


def diagnostics_of(trial: str) -> str:
    return f"artifacts/{trial}/diagnostics.parquet"


def lost(outputs: Mapping[str, Outputs], found: Callable[[str], str | None]) -> Iterator[Lost]:
    """Those of the trials' files that are missing or damaged, where `found` gives the digest of a file: None for one
    that is missing, empty for one that is damaged."""
    for trial, files in outputs.items():
        for name, digest in files.items():
            if (now := found(name)) is None or not now or (digest and now != digest):
                yield Lost(trial, name, now is None)


def here(run: RunDirectory) -> Callable[[str], str | None]:
    """What `lost` asks, of the files in the run's folder."""
    folder = cache(run.file)  # whether it leads out of the run is asked once a folder, which takes 0.2 ms

    def found(name: str) -> str | None:
        place, _, last = name.rpartition("/")
        return found_digest(folder(place) / last)

    return found


def missed(outputs: Mapping[str, Outputs], used: Iterable[str], run: RunDirectory) -> tuple[Lost, ...]:
    """What a report on these trials would need of what they left and has not: files that are missing, and predictions
    that are damaged. Trials of before there were digests are not asked for theirs."""

    def found(name: str) -> str | None:
        file = run.file(name)
        if name.startswith("predictions/"):
            return found_digest(file)
        return known.get(name, "") if file.exists() else None

    files = {trial: outputs.get(trial, {}) for trial in used}
    shown = {
        trial: {name: digest for name, digest in of_trial.items() if digest and not name.endswith(CHECKPOINT)}
        for trial, of_trial in files.items()
    }
    known = {name: digest for of_trial in shown.values() for name, digest in of_trial.items()}
    return tuple(lost(shown, found))


def cost(trial: str, names: Iterable[str], kept: Callable[[str], bool], again: bool) -> str:
    """What it costs that a trial has lost these files, of which `kept` tells whether another one is whole; `again`:
    whether it may be trained again."""
    names = set(names)
    if names == {last_of(trial)}:
        return NO_MORE_EPOCHS
    without_rows = diagnostics_of(trial) in names and not (last_of(trial) not in names and kept(last_of(trial)))
    if not without_rows and model_of(trial) not in names and kept(model_of(trial)):
        return EVALUATED
    return TRAINED if again else GONE


def lost_in_words(missing: Sequence[Lost]) -> str:
    """Which files are lost, as the beginning of a sentence; empty where none is."""
    parts = [each.name.split("/") for each in missing]
    kinds = Counter(path[2] if path[0] == "artifacts" else path[0] for path in parts)
    trials = len({each.trial for each in missing})
    said = ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
    return f"Files that {trials} trial{'s' * (trials > 1)} left are missing or damaged: {said}" if kinds else ""
