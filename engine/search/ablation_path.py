"""Runs an ablation path: trains a step's candidates, turns on the best factor, goes on with the next step.

The choice follows from the log alone and is then written to study.json, so a run that was killed in between makes the
same choice again. Validation data decide; the tables report each step's effect on test data.
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
    """The key of the best of `cells` (key → cell): by the number of seeds that finished, as a diverged or failed one is
    worse than any value; then by the mean of `metric`; of equals the first."""

    def merit(key: str) -> tuple[int, float]:
        values = records.values(cells[key], metric)
        mean = float(values.mean()) if len(values) else 0.0
        return len(values), mean if maximised(metric) else -mean

    return max(cells, key=merit)


class PathQueue(TrialQueue):
    """A queue that adds the trials of a path's next step once all trials of the current step have ended.

    A trial that ran out of memory is left to a second queue, and the path waits for it. That queue starts from the
    plan of the session's start, and reaches the current step by the same choices.
    """

    def __init__(
        self,
        plan: Plan,
        log: RunLog,
        trials: Iterable[TrialSpec],
        say: Callable[[str], None],
        replanned: Callable[[int, int, int], None],
    ) -> None:
        """`replanned` is called with the new total of trials, the epochs left and the number of reused trials."""
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
        """Whether every trial of the plan has ended or failed."""
        return all(spec.trial in self.history.ends or spec.trial in self.history.failed for spec in self.plan.trials)

    def _step(self) -> None:
        """Choose the best candidate, write the longer path to study.json, and queue the next step's candidates."""
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
        """Tell the user which candidates of the step in progress cannot run."""
        found = self.plan.in_progress.values()
        for item in found:
            if item.invalid:
                self._say(f"{item.cell.name!r} cannot run and is no candidate: {item.invalid}")
        if found and not self.plan.candidates:
            self._say(f"The path ends here: none of the {len(found)} factors that are left can be turned on alone.")


def longer(plan: Plan, factor: str) -> Plan:
    """The plan with `factor` as one more step of its path."""
    study = plan.study
    assert isinstance(study, AblationStudy)
    asked = study.model_copy(update={"path": (*study.path, factor), "references": {}})
    return make_plan(asked, plan.options, plan.directory, plan.factory, counting=())
