"""Fixtures of the engine's tests."""

import pytest

import engine.launch
from tests.engine.sequential import Drive


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Runs whole studies without Ray."""
    made = Drive()
    monkeypatch.setattr(engine.launch, "carry_out", made.carry_out)
    return made


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without figures and without text on its page, of which a test reads the tables."""
    for figures in ("report_figures", "picture_figures"):
        monkeypatch.setattr(f"analysis.report.{figures}", lambda *_: [])
    monkeypatch.setattr("analysis.report.page", lambda *_: "")
