"""A page as a browser of this machine shows it; `visit` of conftest.py opens one."""

import shutil
from dataclasses import dataclass, field

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(not BROWSER, reason=f"no browser here: none of {', '.join(NAMES)} is on the PATH")

WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
READY = "html[data-ready]"
SECONDS = 60_000  # in ms; a busy machine starts a browser slowly


@dataclass
class Seen:
    """An opened page, with all that it said and asked for."""

    page: object
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def column(self, table: str, place: int) -> list[str]:
        return self.page.eval_on_selector_all(
            f"{table} tbody tr:not(.out) td:nth-child({place})", "cells => cells.map(cell => cell.textContent)"
        )
