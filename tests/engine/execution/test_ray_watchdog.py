"""A Ray that has lost one of its processes ends the run, also where the main thread can take no signal."""

import subprocess
import sys
import time
from pathlib import Path

DEAF = """
import signal, sys, time
from pathlib import Path
from engine.execution import ray_watchdog as watch

watch.GRACE = 1.0
watch.lost_processes = lambda: ["gcs_server"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
{mask}
try:
    with watch.watched(Path(sys.argv[1])):
        time.sleep(60)
except KeyboardInterrupt as error:
    print("heard:", error, flush=True)
{after}
"""
LOSS = "Ray on this machine has lost its gcs_server"


def ends(directory: Path, mask: str = "", after: str = "") -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    source = DEAF.format(mask=mask, after=after)
    command = [sys.executable, "-c", source, str(directory)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return ended, time.monotonic() - began


def test_a_main_thread_that_takes_no_signal_is_left(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    ended, seconds = ends(tmp_path, mask="signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})")
    assert ended.returncode == 130, ended.stderr
    assert "heard" not in ended.stdout
    assert f"interrupted ({LOSS}); everything so far is saved" in ended.stderr
    assert f"resume {tmp_path}" in ended.stderr
    assert seconds < 30


def test_a_shutdown_that_hangs_is_left(tmp_path: Path) -> None:
    ended, seconds = ends(tmp_path, after="time.sleep(60)")
    assert ended.returncode == 130, ended.stderr
    assert f"heard: {LOSS}" in ended.stdout
    assert "nothing was started" in ended.stderr
    assert seconds < 30


def test_a_main_thread_that_hears_of_it_ends_by_itself(tmp_path: Path) -> None:
    ended, _ = ends(tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"heard: {LOSS}" in ended.stdout
