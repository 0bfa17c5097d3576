"""Something is visible within a second, and nothing is silent for long: lines without a terminal, a spinner on one."""

import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import engine.cli.display
from core.activity import WATCH, Activity, doing
from engine.cli.display import Display
from engine.integrations.log_follower import Follower
from engine.integrations.remote_sync import Sender
from tests.conftest import ROOT

FIRST_WORDS = """
import sys
class Tap:
    encoding = "utf-8"
    def write(self, text):
        sys.__stdout__.write("HEAVY " + " ".join({"torch", "ray", "pandas", "rich"} & set(sys.modules)) + chr(10))
        sys.__stdout__.flush()
        import os
        os._exit(0)
    def flush(self): pass
    def isatty(self): return False
sys.stderr = Tap()
import run_search
run_search.main(sys.argv[1:])
"""


Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come a hundred times as fast."""
    for name in ("TICK", "EVERY"):
        monkeypatch.setattr(engine.cli.display, name, getattr(engine.cli.display, name) / 100)


def test_the_first_activity_is_told_at_once(capsys: Capture) -> None:
    with Display(), doing("reading the study"):
        assert capsys.readouterr().err == "reading the study\n"


def test_what_is_short_is_not_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.cli.display, "EVERY", 60.0)
    with Display(), doing("the first"), doing("short"):
        time.sleep(0.02)
    assert capsys.readouterr().err == "the first\n"


def test_what_is_long_is_told_again_and_again(capsys: Capture) -> None:
    with Display(), doing("starting Ray"):
        time.sleep(0.4)
    assert len(capsys.readouterr().err.splitlines()) > 4


def test_an_activity_that_lasts_for_hours_is_told_less_and_less_often() -> None:
    display, now = Display(), time.monotonic()
    old = Activity("training", began=now - 36_000)
    WATCH.spoken = now - 60
    assert not display._is_due(old)
    WATCH.spoken = now - 800
    assert display._is_due(old)


def test_a_line_on_standard_output_is_one_too(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.cli.display, "EVERY", 0.3)
    with Display(), doing("training"):
        for _ in range(20):
            time.sleep(0.02)
            WATCH.speak()
    assert capsys.readouterr().err == "training\n"


def test_counted_steps_have_a_rate() -> None:
    decoding = Activity("decoding", total=100, done=20, began=time.monotonic() - 10)
    assert str(decoding) == "decoding: 20 of 100, 2 a second, 10 s"


@pytest.mark.parametrize(
    "arguments",
    [["run", "digits/long-tail"], ["plan", "digits/search"], ["resume", "x"], ["confirm", "x"], ["prepare", "digits"]],
)
def test_the_first_words_stand_there_before_anything_heavy_is_imported(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_WORDS, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["HEAVY"]


def on_terminal(code: str, both: bool, term: str = "xterm") -> tuple[str, str]:
    """(what a terminal shows, what standard output took) of a process whose standard error is a terminal."""
    ours, theirs = pty.openpty()
    program = f"from engine.cli.display import Display\nfrom core.activity import doing\nimport time\n{code}"
    done = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=theirs if both else subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": term},
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux's end of a terminal that its last process has left
        pass
    taken = done.stdout.read() if done.stdout else b""
    assert done.wait() == 0
    os.close(ours)
    return shown.decode(), taken.decode()


@pytest.mark.parametrize("both", [True, False])
def test_a_terminal_has_a_moving_spinner_that_goes_when_all_is_done(both: bool) -> None:
    code = "with Display():\n    with doing('starting Ray'):\n        time.sleep(1.5)\n    print('the end')"
    shown, taken = on_terminal(code, both)
    assert shown.startswith("starting Ray")
    assert shown.count("starting Ray") > 5
    assert len({sign for sign in shown if "\u2800" <= sign <= "\u28ff"}) > 3, "the spinner stands still"
    assert "\x1b[?25h" in shown, "the cursor stays hidden"
    assert (taken == "the end\n") is not both


def test_a_terminal_on_which_nothing_can_move_has_lines() -> None:
    code = "with Display():\n    with doing('starting Ray'):\n        time.sleep(1.5)"
    shown, _ = on_terminal(code, both=True, term="dumb")
    assert shown.splitlines() == ["starting Ray"]


def test_json_is_pure_while_a_spinner_turns_on_the_terminal_beside_it(cache_dir: Path) -> None:
    code = "import run_search\nrun_search.main(['list', '--json'], standalone_mode=False)\n"
    code += "with Display():\n    with doing('more'):\n        print('{}')\n        time.sleep(0.5)"
    shown, taken = on_terminal(code, both=False)
    assert "more" in shown
    assert taken.splitlines()[-1] == "{}"
    assert taken.startswith("[{")


@pytest.mark.parametrize("kind", [Display, Follower, Sender])
def test_no_thread_redefines_what_threading_calls_of_itself(kind: type[threading.Thread]) -> None:
    assert set(vars(kind)) & set(vars(threading.Thread)) <= {"__init__", "__module__", "__doc__", "run"}


def test_a_process_that_is_forked_while_something_is_shown_leaves_the_display_alone(tmp_path: Path) -> None:
    """Ray forks so for each of its processes; the lock of what is shown may be held by another thread then."""

    class Live:
        def stop(self) -> None:
            (tmp_path / str(os.getpid())).touch()

    display = Display()
    display.terminal = True  # its thread ends at once, and is known to threading until then
    display.run = lambda: display.over.wait()  # type: ignore[method-assign,assignment]
    display.start()
    display.live = Live()  # type: ignore[assignment]
    try:
        subprocess.run([sys.executable, "-c", ""], preexec_fn=lambda: None, check=True)
        assert list(tmp_path.iterdir()) == []
    finally:
        display.live = None
        display.over.set()
