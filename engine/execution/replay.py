"""`rerun`: trains a recorded trial again, alone and without Ray, and compares it with its record."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.records.lookup import trial_key
from analysis.records.schema import STOPPED
from core.files import scratch
from engine.planning.run_options import apply
from engine.planning.study_record import recorded_request
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from engine.runlog.study_file import read_request
from engine.search.generations import boundaries, segments
from trainables.config import from_tree
from trainables.trial.checkpoints import generation_file
from trainables.trial.processor import computer
from trainables.trial.runner import replay_epoch
from trainables.trial.spec import Segment, TrialSpec
from trainables.trial.trial import Trial, evaluated

Row = dict[str, Any]
TOLERANCE = 1e-4  # relative, for the first epoch's numbers on another processor or torch version
TO_THE_BIT, NEARLY = "bit for bit", f"in its first epoch within {TOLERANCE:g}, on another kind of processor or torch"


def rerun(directory: Path, trial: str, tell: Callable[[Row], None]) -> tuple[str, str, list[str]]:
    """Train one recorded trial in a scratch folder: (its key, how its rows were compared, every difference)."""
    run, record = read_request(directory)
    history = History.of(run)
    key = trial_key(trial, history.starts, "trial")
    study, options = recorded_request(record, run)
    with scratch() as folder:
        replay = Replay(TrialFactory(apply(study, options), options), history, folder)
        return key, *compare(replay, key, tell)


def compare(
    replay: "Replay", trial: str, tell: Callable[[Row], None] = lambda row: None, brief: bool = False
) -> tuple[str, list[str]]:
    """(how a retrained trial was compared with its record, every difference).

    Rows are equal bit for bit on the same kind of processor with the same torch. Elsewhere only the first epoch is
    compared, within TOLERANCE; then `brief` trains no more than that epoch.
    """
    end, recorded = replay.history.ends.get(trial, {}), replay.history.rows.get(trial, {})
    then = {"device": end.get("device"), **end.get("execution", {})}
    here = computer()
    known, alike = "processor" in then, all(then.get(name) == value for name, value in here.items())
    rows = []
    for row in replay.rows(trial):
        tell(row)
        rows.append(row)
        if brief and known and not alike:
            return NEARLY, list(_differences(rows, recorded, TOLERANCE))
    differences = list(_differences(rows, recorded, 0.0))
    if alike or not differences:
        return TO_THE_BIT, differences
    return NEARLY, list(_differences(rows[:1], recorded, TOLERANCE))


class Replay:
    """Trains trials of one log again; for a population's member also the segments of its donors."""

    def __init__(self, factory: TrialFactory, history: History, scratch: Path) -> None:
        self.factory, self.history, self.scratch = factory, history, scratch

    def rows(self, trial: str) -> Iterator[Row]:
        for part in self._parts(trial):
            yield from self._train(part)

    def _train(self, part: TrialSpec) -> Iterator[Row]:
        begins, donor = part.segment.begins, part.segment.donor
        for before in self._parts(donor) if donor else []:
            until = before.segment.until
            done = until and generation_file(self.scratch, before.trial, until).exists()
            if before.segment.begins < begins and not done:
                for _ in self._train(before):
                    pass
        # After every epoch, so that whatever test metrics the record has are compared.
        config = {**part.config, "training": {**part.config["training"], "evaluate_test": "every_epoch"}}
        trial, end, recorded = Trial(replace(part, config=config)), None, self.history.rows.get(part.trial, {})
        while end is None:
            epoch = trial.learner.epoch + 1
            result = replay_epoch(trial, recorded.get(epoch, {}).get("lanes", 1))
            end = result["end"]
            yield from (row for row in result["rows"] if row["epoch"] > begins)

    def _parts(self, trial: str) -> list[TrialSpec]:
        event, end = self.history.starts[trial], self.history.ends.get(trial, {})
        spec = self.factory.spec(event["cell"], from_tree(event["config"]), event["seed"], self.scratch)
        threads = end.get("execution", {}).get("threads", spec.threads)
        until = max(self.history.rows[trial]) if end.get("status") == STOPPED else None
        spec = replace(spec, trial=trial, threads=threads, segment=Segment(until=until))
        study = self.factory.study
        if study.population is None:
            return [spec]
        ends = boundaries(study.population, study.epochs)
        return [part for part, _ in segments(spec, event["point"], self.history, ends)]


def _differences(rows: list[Row], recorded: dict[int, Row], tolerance: float) -> Iterator[str]:
    for row in rows:
        before = recorded.get(row["epoch"], row)
        untested = not evaluated(before)
        for key, value in row.items():
            if key == "seconds" or (untested and key.startswith("test_")):
                continue
            if not _agree(value, before.get(key), tolerance):
                yield f"epoch {row['epoch']}: {key} {value!r}, recorded {before.get(key)!r}"


def _agree(value: Any, recorded: Any, tolerance: float) -> bool:
    numbers = isinstance(value, float) and isinstance(recorded, int | float)
    return value == recorded or (numbers and math.isclose(value, recorded, rel_tol=tolerance))
