"""`python -m tests.cli.kill_often --kills 50`: one study whose driver is killed again and again, and what it cost.

SIGKILL comes at random: while the run starts, while a checkpoint is being written, or some lines of the log later, so
many that the last kill comes near the end. Exit status 1 where anything was lost, doubled, run again or differs.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.records.log import read_log
from tests.cli.runs import DEADLINE, Driver, assert_same_outcome, begin, kill, output, starts, writing
from tests.records import events

START_UP, WRITING = 0.15, 0.3  # of the kills
START_SECONDS = 8.0
RESERVE = 0.8  # of the work that is left is spread over the kills that are left


@dataclass
class Killed:
    """What was seen of one run from kill to kill."""

    run: Path
    study: tuple[str, ...]
    lines: int
    """of an undisturbed run's log"""
    chance: random.Random
    moments: Counter[str] = field(default_factory=Counter)
    rows: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    """every row that stood in the log after some kill"""
    over: dict[str, int] = field(default_factory=dict)
    """trials with an end after some kill, and how often they had been started by then"""
    _counted: tuple[int, int] = (0, 0)

    def kill_once(self, left: int) -> None:
        """Start or resume, kill at some moment, look at what is there."""
        before, driver = self._lines(), begin(self.run, *self.study)
        moment = self.chance.random()
        if moment < START_UP:
            self._passed(driver, lambda: False, patience=self.chance.uniform(0.0, START_SECONDS))
            what = "while it started"
        elif moment < START_UP + WRITING:
            self._passed(driver, lambda: self._lines() > before and writing(self.run))
            what = "while a checkpoint was written"
        else:
            share = max(1, int(2 * RESERVE * (self.lines - before) / left))
            target = before + self.chance.randint(1, share)
            self._passed(driver, lambda: self._lines() >= target)
            time.sleep(self.chance.uniform(0, 0.05))
            what = "between two lines of the log"
        ended = driver.poll() is not None
        kill(driver)
        self.moments["too late: the run had ended" if ended else what] += 1
        self._look()

    def _passed(self, driver: Driver, moment: Callable[[], bool], patience: float = DEADLINE) -> None:
        """Wait for the moment, or for the end of the run."""
        began = time.monotonic()
        while driver.poll() is None and not moment() and time.monotonic() - began < patience:
            time.sleep(0.003)

    def _lines(self) -> int:
        """Of the log; it is asked often, and read only where it grew."""
        log = self.run / "log.jsonl"
        size = log.stat().st_size if log.exists() else 0
        if size != self._counted[0]:
            self._counted = size, log.read_bytes().count(b"\n")
        return self._counted[1]

    def _look(self) -> None:
        self.rows |= rows(self.run)
        begun = Counter(starts(self.run))
        for event in read_log(self.run / "log.jsonl"):
            if event["event"] == "end":
                self.over.setdefault(event["trial"], begun[event["trial"]])


def rows(run: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = (event for event in read_log(run / "log.jsonl") if event["event"] == "epoch")
    return {(event["trial"], event["epoch"]): event for event in found}


def kill_often(study: tuple[str, ...], kills: int, run: Path, undisturbed: Path, seed: int) -> dict[str, Any]:
    """Kill the study's driver so often, let it finish, compare; the figures."""
    began = time.monotonic()
    killed = Killed(run, study, len(events(undisturbed)), random.Random(seed))
    while (count := killed.moments.total()) < kills:
        killed.kill_once(kills - count)
    driver = begin(run, *study)
    said = output(driver)
    assert driver.returncode == 0, said
    found, logged = rows(run), [e for e in events(run) if e["event"] == "epoch"]
    begun = Counter(starts(run))
    try:
        assert_same_outcome(run, undisturbed)
        equal = True
    except AssertionError as error:
        print(error, file=sys.stderr)
        equal = False
    return {
        "seed": seed,
        "kills": kills,
        "moments": dict(killed.moments),
        "trials": len(begun),
        "rows": len(found),
        "rows_lost": sum(found.get(key) != row for key, row in killed.rows.items()),
        "rows_doubled": len(logged) - len(found),
        "finished_trials_run_again": sum(begun[trial] != times for trial, times in killed.over.items()),
        "attempts": begun.total(),
        "tables_equal": equal,
        "seconds": round(time.monotonic() - began, 1),
    }


def faultless(figures: dict[str, Any]) -> bool:
    return figures["tables_equal"] and not any(
        figures[name] for name in ("rows_lost", "rows_doubled", "finished_trials_run_again")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--epochs", default="40")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of the moments")
    given = parser.parse_args()
    study = ("digits/long-tail", "--seeds", given.seeds, "--epochs", given.epochs, "--checkpoint-every", "0s")
    with tempfile.TemporaryDirectory(prefix="kill-often-") as folder:
        undisturbed = Path(folder) / "undisturbed"
        driver = begin(undisturbed, *study)
        said = output(driver)
        assert driver.returncode == 0, said
        figures = kill_often(study, given.kills, Path(folder) / "killed", undisturbed, given.seed)
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value}")
    return 0 if faultless(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
