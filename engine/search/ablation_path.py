"""Walks a path: feeds the trials of the step in progress, then chooses the best candidate, and goes on with the next.

What was chosen stands in study.json and follows from the log alone, so that a run killed between the two chooses the
same again. Validation chooses; the tables then say what each step was worth on test data.
"""

from collections.abc import Callable, Iterable, Mapping

from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.store import read_records
from core.metrics import counterpart, maximised
from engine.planning.plan import Plan, make_plan
from engine.planning.remaining_work import remaining_work
from engine.planning.reuse import take_over
from engine.planning.study_record import study_record
from engine.runlog.run_log import RunLog, stopping
from engine.runlog.study_file import read_request, rewrite
from engine.search.trial_queue import TrialQueue
from search_spaces.study import AblationStudy
from trainables.trial.spec import TrialSpec


def best_candidate(records: Records, cells: Mapping[str, str], metric: str) -> str:
    """The key of the best of `cells` (key → cell): the one that most seeds finished, as a diverged or failed one is
    worse than any figure; of those the one with the best mean of `metric`; of equals the first."""

    def merit(key: str) -> tuple[int, float]:
        values = records.values(cells[key], metric)
        mean = float(values.mean()) if len(values) else 0.0
        return len(values), mean if maximised(metric) else -mean

    return max(cells, key=merit)


class PathQueue(TrialQueue):
    """A queue that refills itself with the trials of a path's next step once all of this one have ended.

    A trial that ran out of memory and is left to a later queue holds the path up; that queue begins where the session
    began, and comes by the same choices to the step in progress.
    """

    def __init__(
        self,
        plan: Plan,
        log: RunLog,
        trials: Iterable[TrialSpec],
        say: Callable[[str], None],
        replanned: Callable[[int, int, int], None],
    ) -> None:
        """`replanned` is told how many trials there are now, how many epochs are left, how many trials were reused."""
        self.plan, self.log, self.history = plan, log, log.history
        self._say, self._replanned = say, replanned
        self._wanted: Callable[[str], bool] = lambda trial: True
        super().__init__(trials)
        self._tell_of_others()

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        super().keep_only(wanted)

    def may_grow(self) -> bool:
        return bool(self.running)

    def refill(self) -> bool:
        while not self.waiting and not self.running and self.plan.candidates and self._over():
            self._step()
        return bool(self.waiting)

    def _over(self) -> bool:
        """Whether every trial of the plan has an end, be it a failed one."""
        return all(spec.trial in self.history.ends or spec.trial in self.history.failed for spec in self.plan.trials)

    def _step(self) -> None:
        """Take the best candidate as the next step, write that down, and queue the candidates of the one after it."""
        study, run = self.plan.study, RunDirectory(self.plan.directory)
        assert isinstance(study, AblationStudy)
        metric, records = counterpart(study.metric, "val"), read_records(run.root)
        cells = {factor: item.cell.name for factor, item in self.plan.candidates.items()}
        factor = best_candidate(records, cells, metric)
        self._say(
            f"step {len(study.steps) + 1} of {len(study.factors)}: {factor}, the best of {len(cells)} by {metric}: "
            f"{records.values(cells[factor], metric).mean():.4f}"
        )
        self.plan = longer(self.plan, factor)
        with stopping():
            rewrite(run, study_record(self.plan, read_request(run.root)[1]["command"]))
        taken = take_over(self.plan, run, self.log)
        now = remaining_work(self.plan, self.history)
        self._replanned(now.total, now.epochs(self.plan, self.history), taken)
        for spec in now.todo:
            if spec.trial not in self.history.starts or (
                self._wanted(spec.trial) and spec.trial not in self.history.failed
            ):
                self.enqueue(spec)
        self._tell_of_others()

    def _tell_of_others(self) -> None:
        """Which candidates of the step in progress cannot run."""
        found = self.plan.in_progress.values()
        for item in found:
            if item.invalid:
                self._say(f"{item.cell.name!r} cannot run and is no candidate: {item.invalid}")
        if found and not self.plan.candidates:
            self._say(f"The path ends here: none of the {len(found)} factors that are left can be turned on alone.")


def longer(plan: Plan, factor: str) -> Plan:
    """The plan whose path has one more step, of what the options made of its study: they change that no further."""
    study = plan.study
    assert isinstance(study, AblationStudy)
    asked = study.model_copy(update={"path": (*study.path, factor), "references": {}})
    return make_plan(asked, plan.options, plan.directory, plan.factory)
