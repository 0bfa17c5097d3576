"""Processes that time nothing, for tests of what a forecast makes of their figures."""

from typing import Any

from engine.forecast.probe import Cost

COST = Cost(epoch=2.0, diagnostics=0.0, trial=1.0, save=0.0, first=0.0, memory=2.0**30)


class FakeProbes:
    """Knows what each batch size costs, and how many processes were asked for."""

    start, apart, asked = 1.0, 0.0, list[Any]()

    def __init__(self, number: int, setting: dict[str, Any], gpus: float) -> None:
        self.number = number

    def __enter__(self) -> "FakeProbes":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def cost(self, spec: Any, seconds: float) -> tuple[Cost, float]:
        self.asked.append((self.number, spec.config["training"]["batch_size"], seconds))
        return COST, self.apart
