"""The page that is rewritten while a run goes on: after ends, by another process, with a small share of the time."""

import time
from pathlib import Path

import pytest

from analysis.schema import RunDirectory
from engine import followers
from engine.followers import Follower, Pages
from tests.analysis.runs import study, write_outcomes


class Pretended:
    """A report that takes until it is told to be done."""

    def __init__(self) -> None:
        self.done = self.terminated = False

    def poll(self) -> int | None:
        return 0 if self.done else None

    def terminate(self) -> None:
        self.terminated = self.done = True

    def wait(self) -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def test_reports_follow_ends_and_take_a_small_share_of_the_time(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Pretended] = []
    monkeypatch.setattr(followers, "written_aside", lambda run: begun.append(Pretended()) or begun[-1])
    pages = Pages(RunDirectory(tmp_path))
    pages.look(ended=True)
    assert not begun, "a run of seconds needs no page before its last"
    clock[0] += followers.FIRST + 1
    pages.look(ended=False)
    assert len(begun) == 1, "the end that was seen before is on no page yet"
    clock[0] += 10
    pages.look(ended=True)
    assert len(begun) == 1, "one at a time"
    begun[0].done = True
    pages.look(ended=False)
    clock[0] += 10 / followers.SHARE - 1
    pages.look(ended=False)
    assert len(begun) == 1
    clock[0] += 2
    pages.look(ended=False)
    assert len(begun) == 2
    pages.stop()
    assert begun[1].terminated
    clock[0] += 10_000
    begun[1].done = True
    pages.look(ended=False)
    pages.look(ended=False)
    assert len(begun) == 2, "nothing has ended since"


def test_the_page_is_there_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "FIRST", 0.0)
    monkeypatch.setattr(followers, "LOOK", 0.05)
    run = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5, 0.6, 0.7]}))
    content = run.log.read_bytes()
    run.log.write_bytes(b"")
    page = run.report / "index.html"
    with Follower(run, [], print):
        run.log.write_bytes(content)
        until = time.monotonic() + 60
        while not page.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert page.exists()
