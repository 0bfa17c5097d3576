"""Tables are functions of what ran: the order in which trials started, and in which their lines were written, counts
for nothing."""

import random
from pathlib import Path

import pytest

from analysis.records.store import read_records
from analysis.report.contents import report_tables
from tests.analysis import golden_tables, runs, searches

SPACE = [searches.LR, searches.MOMENTUM, searches.LAYERS]


def a_search(root: Path) -> Path:
    """Configurations with equal results among them, diverged ones, and two seeds that differ."""
    draw = random.Random(0)
    trials = []
    for i in range(14):
        point = {
            "optimizer.lr": 10 ** draw.uniform(-4, 0),
            "optimizer.momentum": draw.uniform(0, 1),
            "model.bn_after": draw.choice(searches.LAYERS["choices"]),
        }
        for seed in (0, 1):
            status = "diverged" if i % 5 == 4 else "finished"
            value = round(0.5 + point["optimizer.momentum"] / 10, 2) + 0.0123456789 * seed
            trials.append(searches.trial(f"c{i * 37 % 14}", point, value, seed, status, epochs=2))
    return searches.write(root, SPACE, trials, seeds=[0, 1])


def shuffled(events: list[dict], draw: random.Random) -> list[dict]:
    """The events with their trials begun in another order and running beside each other, each in its own order."""
    trials: dict[str, list[dict]] = {}
    for event in events:
        trials.setdefault(event["trial"], []).append(event)
    turns = [trial for trial, own in trials.items() for _ in own]
    draw.shuffle(turns)
    return [trials[trial].pop(0) for trial in turns]


def tables(run: Path) -> dict[str, str]:
    records = read_records(run)
    found = {"trials": records.trials, "epochs": records.epochs, **report_tables(records)}
    return {name: table.to_csv(index=False) for name, table in found.items()}


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "without numbers of proposals"])
def test_the_tables_of_a_search_do_not_depend_on_the_order_of_starts(numbered: bool, tmp_path: Path) -> None:
    run = a_search(tmp_path)
    events = runs.read(run)
    if not numbered:
        events = [{name: value for name, value in event.items() if name != "proposal"} for event in events]
        (run / "log.jsonl").write_bytes(runs.lines(events))
    before = tables(run)
    assert {"importance", "marginals", "ranking", "top"} <= before.keys()
    for seed in range(2):
        (run / "log.jsonl").write_bytes(runs.lines(shuffled(events, random.Random(seed))))
        assert tables(run) == before


@pytest.mark.parametrize("study", ["one_at_a_time", "ladder", pytest.param("factorial", marks=pytest.mark.matrix)])
def test_the_tables_of_an_ablation_do_not_depend_on_the_order_of_starts(study: str, tmp_path: Path) -> None:
    run = golden_tables.STUDIES[study](tmp_path)
    events = runs.read(run)
    before = tables(run)
    (run / "log.jsonl").write_bytes(runs.lines(shuffled(events, random.Random(0))))
    assert tables(run) == before
