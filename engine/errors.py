"""The engine's one way to refuse."""


class PlanError(Exception):
    """Everything that keeps a study from being run; `faults` holds one sentence a fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))
