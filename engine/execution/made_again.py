"""What a run has lost is made again: from a trial's checkpoint where that is whole, else by training it anew.

Nothing here needs Ray: predictions, features and pictures are written from the selected model, in this process. Trials
to be trained anew lose their rows and end in the log, and are then trials that are left.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from analysis.records.checkpoint_files import LAST_STATES
from analysis.records.epoch_rows import lines_of
from analysis.records.outputs import (
    EVALUATED,
    TRAINED,
    Lost,
    cost,
    diagnostics_of,
    here,
    last_of,
    lost,
    outputs_of,
)
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import ANEW, REMADE, REMOVED
from core.activity import doing
from core.errors import first_line
from core.files import CHECKPOINT, DIGEST, found_digest, scratch, write_atomically, write_text
from core.storage import Store
from engine.planning.plan import Plan
from engine.runlog.run_log import RunLog, now, stopping
from search_spaces.study import SearchStudy
from trainables.config import from_tree
from trainables.training.learner import Learner
from trainables.trial import checkpoint_file
from trainables.trial.outputs import EPOCHS_LOG, write_outputs, written
from trainables.trial.own_code import use_own_code
from trainables.trial.remote_checkpoints import RemoteCheckpoints
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import dataset_of

Tell = Callable[[str], None]
SHOWN = 3  # trials that are named


def make_again(plan: Plan, run: RunDirectory, log: RunLog, trials: Iterable[str], tell: Tell) -> None:
    """Make again what these trials of the run have left and lost. What cannot be had is said, and stays lost."""
    with doing("looking at the files of ended trials"):
        found = _at_url(run) if run.remote else here(run)
        outputs = {trial: outputs_of(end) for trial in trials if (end := log.history.ends.get(trial))}
        missing: dict[str, list[Lost]] = {}
        for each in lost(outputs, found):
            missing.setdefault(each.trial, []).append(each)
        _write_lines(run, log, outputs)
        _finish_removal(run, log, outputs)
    if not missing:
        return
    again = not (isinstance(plan.study, SearchStudy) and plan.study.scheduled)

    def costs(trial: str) -> str:
        return cost(trial, (each.name for each in missing[trial]), lambda name: bool(found(name)), again)

    by_cost: dict[str, list[str]] = {}
    for trial in missing:
        # Of trials of before there were digests nobody knows what they left.
        if (what := costs(trial)) == EVALUATED or log.history.ends[trial].get("outputs") is not None:
            by_cost.setdefault(what, []).append(trial)
    for what, losers in by_cost.items():
        _tell_lost(missing, losers, what, tell)
        if what == EVALUATED:
            _evaluate(plan, run, log, missing, losers, tell)
        elif what == TRAINED:
            log.append(event=ANEW, time=now(), trials=sorted(losers))
        else:
            for trial in losers:
                _give_up(run, log, trial, {each.name for each in missing[trial]})


def _tell_lost(missing: Mapping[str, list[Lost]], trials: list[str], what: str, tell: Tell) -> None:
    for trial in trials[:SHOWN]:
        first, *others = missing[trial]
        tell(f"lost: {first.name} {first.what}" + (f", and {len(others)} more of its trial" if others else ""))
    more = f"and of {len(trials) - SHOWN} more trials; " if len(trials) > SHOWN else ""
    tell(f"{more}{len(trials)} trial{'s' * (len(trials) > 1)}: {what}")


def _give_up(run: RunDirectory, log: RunLog, trial: str, files: set[str]) -> None:
    """What nothing needs any more, or cannot be had, is no damage from now on; what is left of a last state goes."""
    log.append(event=REMOVED, time=now(), trial=trial, files=sorted(files))
    if last_of(trial) in files:
        with stopping():
            run.file(last_of(trial)).unlink(missing_ok=True)


def _evaluate(
    plan: Plan, run: RunDirectory, log: RunLog, missing: Mapping[str, list[Lost]], trials: list[str], tell: Tell
) -> None:
    for number, trial in enumerate(trials, 1):
        names = {each.name for each in missing[trial]}
        try:
            with doing(f"evaluating trial {trial} again ({number} of {len(trials)})"), stopping():
                made = write_again(_spec(plan, log, trial), names, max(log.history.rows[trial]))
        except Exception as error:
            tell(f"trial {trial}: cannot be evaluated again: {first_line(error)}")
            continue
        if last_of(trial) in names:
            _give_up(run, log, trial, {last_of(trial)})
        if never := names - made.keys() - {last_of(trial)}:
            _give_up(run, log, trial, never)
        if made:
            log.append(event=REMADE, time=now(), trial=trial, outputs=made)


def _spec(plan: Plan, log: RunLog, trial: str) -> TrialSpec:
    """A recorded trial, with the threads that it had."""
    start, end = log.history.starts[trial], log.history.ends[trial]
    spec = plan.factory.spec(start["cell"], from_tree(start["config"]), start["seed"], plan.directory)
    threads = (end.get("execution") or {}).get("threads") or spec.threads
    return replace(spec, trial=trial, threads=threads)


def write_again(spec: TrialSpec, names: set[str], epochs: int) -> dict[str, str]:
    """Write these of a trial's files from its selected model, as at its end after so many epochs; the digests of those
    that there are again. What is whole stays as it is. RuntimeError where its data are others, DataError where they are
    gone."""
    run, trial = Path(spec.directory), spec.trial
    folder, layers = run / "checkpoints" / trial, []
    if spec.remote:
        RemoteCheckpoints(spec.remote, run, trial).fetch(trial, "best.pt", "last.pt")
    if (best := checkpoint_file.load(folder / "best.pt")) is None:
        raise RuntimeError(f"{folder / 'best.pt'} cannot be read")
    if diagnostics_of(trial) in names:
        layers = json.loads((checkpoint_file.load(folder / "last.pt") or {"layers": "[]"})["layers"])
    torch.set_num_threads(spec.threads)
    use_own_code(spec)
    config = from_tree(best["config"])
    dataset = dataset_of(spec, config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learner = Learner(config, dataset, spec.seed, device)
    pictures = any(name.split("/")[2] in ("images", "feature_maps") for name in names if name.count("/") == 3)
    with scratch() as aside:
        with learner.holding(best["model"], epochs):
            write_outputs(learner, dataset, aside, trial, layers, pictures)
        made = {name: digest for name, digest in written(aside, trial, models=False).items() if name in names}
        for name in made:
            write_atomically(run / name, partial(shutil.copyfile, aside / name))
            if spec.remote:
                Store(spec.remote).put(name, run / name)
    return made


def _write_lines(run: RunDirectory, log: RunLog, trials: Iterable[str]) -> None:
    """Write each epochs.log that is not what the log tells."""
    for trial in trials:
        if log.history.ends[trial].get("outputs") is not None:
            rows = log.history.rows[trial]
            text, file = lines_of(rows[epoch] for epoch in sorted(rows)), run.artifact(trial, EPOCHS_LOG)
            if not file.is_file() or file.read_bytes() != text.encode():
                with stopping():
                    write_text(file, text)


def _finish_removal(run: RunDirectory, log: RunLog, trials: Iterable[str]) -> None:
    """Delete the last states that a kill has left behind once the log had said that they go."""
    for trial in trials:
        for name in log.history.ends[trial].get("removed", ()):
            if name.startswith(f"checkpoints/{trial}/") and name.endswith(LAST_STATES):
                with stopping():
                    run.file(name).unlink(missing_ok=True)


def _at_url(run: RunDirectory) -> Callable[[str], str | None]:
    """As `here`, at the run's URL: of a checkpoint the digest at its end, of others that of the copy here, which is
    fetched where there is none."""
    store = Store(run.remote or "")
    names = {name for folder in ("predictions", "artifacts", "checkpoints") for name in store.files(folder)}

    def found(name: str) -> str | None:
        if name not in names:
            return None
        if name.endswith(CHECKPOINT):
            return (store.read(name, DIGEST) or b"").hex()
        if not run.file(name).exists():
            store.get(name, run.file(name))
        return found_digest(run.file(name))

    return found
