"""The engine's ways to refuse and to stop."""


class PlanError(Exception):
    """Everything that keeps a study from being run; `faults` holds one sentence a fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))


class Interrupted(KeyboardInterrupt):
    """The run cannot go on now, and all that it did is written; the text says why, in a clause.

    Like Ctrl-C it is no `Exception`: Ray Tune would end its trials one by one before it let it through.
    """
