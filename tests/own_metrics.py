"""Functions in the place of a user's metrics, while the loader of references is asked for them."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from core.metrics import BUILT_IN, METRICS


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What references load, by reference; metrics that a test declares are unknown after it."""
    known: dict[str, Any] = {}
    loader: Any = SimpleNamespace(load=lambda reference: known[reference])
    monkeypatch.setitem(sys.modules, "core.user_code.references", loader)
    yield known
    for name in set(METRICS) - BUILT_IN:
        del METRICS[name]
