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
