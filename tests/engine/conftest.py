"""Fixtures of the engine's tests."""

import pytest

import engine.execution.launch
import engine.forecast.forecast
from tests.engine.fake_probes import FakeProbes
from tests.engine.sequential import Drive
from trainables.training.learner import Learner


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Runs whole studies without Ray."""
    made = Drive()
    monkeypatch.setattr(engine.execution.launch, "carry_out", made.carry_out)
    return made


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Epoch numbers in the order in which they are trained."""
    epochs: list[int] = []
    train_epoch = Learner.train_epoch

    def counted(self: Learner) -> dict[str, float]:
        epochs.append(self.epoch + 1)
        return train_epoch(self)

    monkeypatch.setattr(Learner, "train_epoch", counted)
    return epochs


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without figures and without text on its page, of which a test reads the tables."""
    monkeypatch.setattr("analysis.report.contents.report_figures", lambda *_: ([], []))
    monkeypatch.setattr("analysis.report.build.galleries", lambda *_: [])
    monkeypatch.setattr("analysis.report.build.page", lambda *_: "")


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> type[FakeProbes]:
    """Forecasts without processes that time steps."""
    monkeypatch.setattr(FakeProbes, "asked", [])
    monkeypatch.setattr(engine.forecast.forecast, "Probes", FakeProbes)
    return FakeProbes
