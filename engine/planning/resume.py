"""Decides how a trial resumes: it continues, is extended to more epochs, or is refused as a changed trial."""

from dataclasses import replace
from typing import Any

from core.errors import PlanError
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from trainables.config import TrialConfig, counts, flatten, from_tree
from trainables.trial.remote_checkpoints import present
from trainables.trial.spec import Segment, TrialSpec

BUDGET = "training.epochs"
SHOWN = 5  # trials named in a refusal


class Continuations:
    """Decides for each trial of a plan where it begins; collects refused ones in `faults`, restarted ones in `anew`."""

    def __init__(self, history: History, record: dict[str, Any] | None, factory: TrialFactory) -> None:
        self.history, self.record, self.factory = history, record, factory
        self.faults: list[str] = []
        self.anew: dict[str, int] = {}
        """number of extended trials that restart at their first epoch, by reason"""

    def place(self, spec: TrialSpec) -> TrialSpec:
        """The spec, with the trial that it continues if there is one with fewer epochs."""
        if spec.trial in self.history.starts:
            return spec
        for event in self.history.begun(spec.cell, spec.seed):
            old, new = from_tree(event["config"]), from_tree(spec.config)
            if difference := self._difference(spec, event, old, new):
                self.faults.append(difference)
                return spec
            if old.training.epochs > new.training.epochs:
                self.faults.append(
                    f"--epochs {new.training.epochs}: cell {spec.cell!r} was begun with {old.training.epochs}; a "
                    f"smaller budget is another run: give it another folder with --out"
                )
                return spec
            reason = beginnings_differ(old, new)
            if reason is None and not present(spec, f"checkpoints/{event['trial']}/last.pt"):
                reason = "the last checkpoint of their smaller budget is gone (--keep best and --disk-budget delete it)"
            if reason is None:
                return replace(spec, segment=Segment(continues=event["trial"]))
            self.anew[reason] = self.anew.get(reason, 0) + 1
            return spec
        return spec

    def _difference(self, spec: TrialSpec, event: dict[str, Any], old: TrialConfig, new: TrialConfig) -> str | None:
        """Why the begun trial differs in more than its number of epochs; None if it does not."""
        begun = f"trial {event['trial']} (cell {spec.cell!r}, seed {spec.seed}) was begun"
        before, after = flatten(old), flatten(new)
        changed = [
            f"{key} from {before.get(key)!r} to {after.get(key)!r}"
            for key in {**before, **after}
            if before.get(key) != after.get(key) and key != BUDGET and counts(key)
        ]
        if changed:
            return f"{begun} with other settings: {', '.join(changed)}; run it into another folder with --out"
        if self.factory.key(old, spec.seed) == event["trial"]:
            return None
        record = self.record or {}
        if record.get("data", {}).get("fingerprint") != spec.fingerprint:
            what = "on other data: the files under the data root changed"
        else:
            what = f"by other training code, at commit {record.get('git', {}).get('commit')}"
        return f"{begun} {what}; run it into another folder with --out"

    def refuse(self) -> None:
        """PlanError if a begun trial would no longer be the same trial; lists the first SHOWN and counts the others."""
        if self.faults:
            left_out = len(self.faults) - SHOWN
            raise PlanError([*self.faults[:SHOWN], *([f"and so for {left_out} more trials"] if left_out > 0 else [])])

    def remarks(self) -> list[str]:
        """Messages for the user: how many trials restart at their first epoch, and why."""
        return [f"{count} trials train anew: {reason}" for reason, count in self.anew.items()]


def beginnings_differ(old: TrialConfig, new: TrialConfig) -> str | None:
    """Why the first epochs of a larger budget differ from those of the smaller one; None if they do not."""
    small, large = old.training.epochs, new.training.epochs
    for epoch in range(1, small + 1):
        if old.optimizer.at(epoch, small) != new.optimizer.at(epoch, large):
            return (
                f"{new.optimizer.name} switches at a share of the budget, in another epoch of {large} than of {small}"
            )
        rates = [c.optimizer.lr_at(epoch, n, c.schedule) for c, n in ((old, small), (new, large))]
        if rates[0] != rates[1]:
            return (
                f"the schedule {new.schedule.name} is spread over the whole budget: in epoch {epoch} the learning rate "
                f"of {large} epochs is {rates[1]:.4g}, that of {small} was {rates[0]:.4g}"
            )
    return None
