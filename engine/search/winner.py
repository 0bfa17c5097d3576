"""Makes ablation studies from a search's winner. The study stores all that it needs of the search, whose directory is
not read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.records.run_records import Records
from analysis.records.schema import STOPPED
from analysis.records.store import read_records
from core.errors import PlanError
from core.metrics import counterpart, maximised
from engine.planning.resume import BUDGET
from engine.planning.run_options import Options, apply
from engine.planning.study_record import recorded_request
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from engine.runlog.study_file import read_request
from search_spaces.factors import Factor
from search_spaces.spaces import point_faults
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, parse_study
from search_spaces.winner_factors import ABSENT, Group, factors_between, find
from trainables.config import ConfigError, TrialConfig, counts, flatten, from_tree

INHERITED = ("data_root", "cache_dir", "epochs")
PATIENCE = "training.patience"


@dataclass(frozen=True)
class Winner:
    """A finished configuration: its cell in the search, the point that was sampled, the resolved configuration."""

    cell: str
    point: dict[str, Any]
    config: TrialConfig


@dataclass(frozen=True)
class SearchRun:
    """What follow-up studies need of a search's run."""

    study: SearchStudy
    """before its options are applied"""
    options: Options
    winners: list[Winner]
    """best first"""
    tried: int
    next_seed: int
    """1 + the largest seed that the search used"""

    def inherited(self, given: Options) -> Options:
        """`given`, completed by the search's own settings, epochs, data_root and cache_dir."""
        kept = {name: getattr(self.options, name) for name in INHERITED if getattr(given, name) is None}
        settings = {key: value for key, value in self.options.settings.items() if key != PATIENCE}
        folders = {**given.folders, **self.options.folders}
        own = {"folders": folders, "code": tuple(dict.fromkeys([*self.options.code, *given.code]))}
        return given.model_copy(update={**kept, **own, "settings": {**settings, **given.settings}})


def read_search(directory: Path, named: str) -> SearchRun:
    """The run of a search; PlanError, with `named` for the directory, if it is no search or has no winner."""
    run, record = read_request(directory)
    study, options = recorded_request(record, run)
    if not isinstance(study, SearchStudy):
        raise PlanError(f"{named}: {study.name} is an ablation; a search has a winner")
    if apply(study, options).population:
        raise PlanError(
            f"{named}: the members of a population (trial_scheduler pbt) change their settings while they train, "
            f"so its winner is no one configuration; allowed: searches under another trial scheduler"
        )
    starts = list(History.of(run).starts.values())
    first = {event["cell"]: event for event in reversed(starts) if "point" in event}
    winners = [
        Winner(cell, first[cell]["point"], from_tree(first[cell]["config"]))
        for cell in ranked(read_records(run.root))
        if cell in first
    ]
    if not winners:
        raise PlanError(f"{named}: no trial has finished its whole budget, so there is no winner yet")
    seeds = [event["seed"] for event in starts]
    return SearchRun(study, options, winners, len(first), 1 + max(seeds))


def ranked(records: Records) -> list[str]:
    """A search's cells with a finished and no stopped trial, best mean of the validation metric first."""
    metric = counterpart(str(records.study["metric"]), "val")
    means = {
        cell: float(values.mean())
        for cell in records.cells
        if len(values := records.values(cell, metric)) and not records.count(cell, STOPPED)
    }
    return sorted(means, key=lambda cell: -means[cell] if maximised(metric) else means[cell])


def around(asked: AnyStudy, given: Options, directory: Path) -> tuple[AblationStudy, Options]:
    """(an ablation of the settings that the winner of the search in `directory` changed, its options).

    `asked` is the search's study. PlanError or StudyError if the run does not fit it, or its winner changed nothing.
    """
    named = f"--incumbent {directory}"
    if not isinstance(asked, SearchStudy):
        raise PlanError(f"{named}: {asked.name} is an ablation, which has factors of its own; give a search")
    source = read_search(directory, named)
    if source.study.workload != asked.workload:
        raise PlanError(f"{named}: is a run of workload {source.study.workload}, and {asked.name} of {asked.workload}")
    options = source.inherited(given)
    study = apply(asked, Options(settings=options.settings, epochs=options.epochs))
    assert isinstance(study, SearchStudy)
    winner = source.winners[0]
    if faults := list(point_faults(study.space, winner.point)):
        raise PlanError([f"{named}: its winner {winner.cell} is no point of {asked.name}: {fault}" for fault in faults])
    made = _ablation(study, options, source, named, given)
    return made, options.model_copy(update={"design": None})


def _ablation(study: SearchStudy, options: Options, source: SearchRun, named: str, given: Options) -> AblationStudy:
    winner, factory = source.winners[0], TrialFactory(study, options)
    default, best = factory.config({}), factory.config(winner.point)
    if changed := _changed(winner.config, best, given):
        raise PlanError(f"{named}: its winner {winner.cell} was trained with other settings: {', '.join(changed)}")
    before, after = (config.model_dump(mode="json") for config in (default, best))
    # Explicit in the baseline, so that a factor that chooses a component with other defaults does not change them.
    standard = {key: value for key in winner.point if (value := find(before, key)) is not ABSENT}
    study = study.model_copy(update={"baseline": {**study.baseline, **standard}})
    factory = TrialFactory(study, options)
    if faults := [*factory.faults(default), *(f"{named}: its winner: {fault}" for fault in factory.faults(best))]:
        raise PlanError(faults)
    point = {key: find(after, key) for key in winner.point}

    def possible(group: Group) -> bool:
        try:
            return not factory.faults(factory.config({key: point[key] for key in group}))
        except ConfigError:
            return False

    factors = factors_between(study.space, point, before, possible)
    if not factors:
        raise PlanError(f"{named}: its winner {winner.cell} is the default configuration, so there is nothing to ask")
    design = given.design or "path"
    question = (
        f"Which of the settings that {source.study.name} changed in its best of {source.tried} configurations "
        f"({winner.cell}) made the difference?"
    )
    return follow_up(study, source, design, question, factors)


def follow_up(
    study: SearchStudy, source: SearchRun, design: str, question: str, factors: Sequence[Factor]
) -> AblationStudy:
    """An ablation with a search's workload, baseline, epochs and metric, and seeds that it did not use; StudyError if
    the design does not fit. Patience is dropped, as an ablation gives every cell its whole budget.
    """
    name = f"{study.name}-{design.replace('_', '-')}"
    shared = study.model_dump(
        mode="json", include={"workload", "baseline", "code", "epochs", "metric", "further_metrics"}
    )
    own = {"name": name, "question": question, "design": design, "first_seed": source.next_seed}
    tree = {**shared, **own, "factors": [factor.model_dump(mode="json") for factor in factors]}
    tree["baseline"].pop(PATIENCE, None)
    made = parse_study(tree, name)
    assert isinstance(made, AblationStudy)
    return made


def _changed(old: TrialConfig, new: TrialConfig, given: Options) -> list[str]:
    """Settings that differ, except for epochs, patience, places of data and those `given` now."""
    before, after = flatten(old), flatten(new)
    meant = {BUDGET, PATIENCE, *given.settings, *(f"dataset.{place}" for place in new.dataset.place_fields)}
    return [
        f"{key} {before.get(key)!r}, now {after.get(key)!r}"
        for key in {**before, **after}
        if before.get(key) != after.get(key) and key not in meant and counts(key)
    ]
