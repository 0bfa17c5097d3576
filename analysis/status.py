"""How far a run is, from its log alone: readable from another shell while it runs."""

from pathlib import Path

from analysis.ranking import ranked_metric
from analysis.schema import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED
from analysis.store import Records, read_records
from analysis.wording import planned_trials
from core.metrics import maximised


def describe(run_dir: Path) -> list[str]:
    """Lines: trials by state, running trials, best so far, time left."""
    records = read_records(run_dir)
    trials, study = records.trials, records.study
    planned = planned_trials(records)
    most = "at most " if study.get("trials_ahead") else ""
    counts = {
        status: int((trials["status"] == status).sum()) for status in (FINISHED, RUNNING, STOPPED, DIVERGED, FAILED)
    }
    waiting = max(0, planned - len(trials))
    listed = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    states = ", ".join(filter(None, (listed, f"{waiting} waiting")))
    lines = [f"{study['name']}: {most}{planned} trials planned: {states}"]
    for row in trials.loc[trials["status"] == RUNNING].itertuples():
        lines.append(f"  running: {row.trial}  {row.cell}, seed {row.seed}, epoch {row.epochs}")
    return [*lines, *_best(records), *_left(records, waiting)]


def _best(records: Records) -> list[str]:
    metric = ranked_metric(records)
    done = records.trials.loc[records.trials["status"] == FINISHED]
    if metric not in done or done[metric].isna().all():
        return []
    row = done.sort_values(metric, ascending=not maximised(metric)).iloc[0]
    return [f"best so far: {metric} {row[metric]:.4f}  {row['cell']}, seed {row['seed']}, trial {row['trial']}"]


def _left(records: Records, waiting: int) -> list[str]:
    """What is left at the speed of the epochs so far, with as many trials at a time as are running now."""
    trials, epochs = records.trials, records.epochs
    running = trials.loc[trials["status"] == RUNNING]
    budget = records.study["epochs"]
    todo = waiting * budget + int((budget - running["epochs"]).clip(lower=0).sum())
    if not todo:
        return ["nothing left to do"] if not len(running) else []
    if not len(epochs):
        return ["no epoch recorded yet"]
    seconds = float(epochs["seconds"].mean()) * todo / max(1, len(running))
    return [f"about {seconds / 60:.1f} min left for {todo} epochs, {max(1, len(running))} trials at a time"]
