"""What importing a user's file changes in the process is as before when it is over."""

import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from core.user_code.guard import undone
from core.user_code.references import UserCodeError, load, use

STATE: dict[str, tuple[str, Callable[[], Any]]] = {
    "python's generator": ("import random; random.seed(1)", random.getstate),
    "numpy's generator": ("import numpy; numpy.random.seed(1)", lambda: np.random.get_state()[1].tolist()),
    "torch's generator": ("import torch; torch.manual_seed(1)", lambda: torch.get_rng_state().tolist()),
    "threads": ("import torch; torch.set_num_threads(torch.get_num_threads() + 1)", torch.get_num_threads),
    "default dtype": ("import torch; torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "default device": ("import torch; torch.set_default_device('meta')", lambda: torch.zeros(1).device),
    "gradients": ("import torch; torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "anomalies": ("import torch; torch.autograd.set_detect_anomaly(True)", torch.is_anomaly_enabled),
    "determinism": (
        "import torch; torch.use_deterministic_algorithms(True)",
        torch.are_deterministic_algorithms_enabled,
    ),
    "matmuls": ("import torch; torch.set_float32_matmul_precision('medium')", torch.get_float32_matmul_precision),
    "cudnn": ("import torch; torch.backends.cudnn.benchmark = True", lambda: torch.backends.cudnn.benchmark),
    "autocast": ("import torch; torch.set_autocast_enabled('cpu', True)", lambda: torch.is_autocast_enabled("cpu")),
    "denormals": ("import torch; torch.set_flush_denormal(True)", lambda: float(torch.full((1,), 1e-38) / 100) == 0),
    "folder": ("import os; os.chdir('/')", Path.cwd),
    "environment": ("import os; os.environ['OMP_NUM_THREADS'] = '1'; os.environ.pop('PATH')", lambda: dict(os.environ)),
    "arguments": ("import sys; sys.argv.append('--x'); sys.argv = ['y']", lambda: list(sys.argv)),
    "path": ("import sys; sys.path.insert(0, '/nowhere')", lambda: list(sys.path)),
    "path, replaced": ("import sys; sys.path = []", lambda: list(sys.path)),
    "warnings": ("import warnings; warnings.simplefilter('error')", lambda: list(warnings.filters)),
    "root logger": (
        "import logging; logging.basicConfig(level=1, force=True)",
        lambda: (logging.root.level, list(logging.root.handlers)),
    ),
    "loggers": ("import logging; logging.getLogger('ray').disabled = True", lambda: logging.getLogger("ray").disabled),
    "logging": ("import logging; logging.disable(50)", lambda: logging.root.manager.disable),
    "signals": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "output": ("import sys, io; sys.stdout = io.StringIO()", lambda: sys.stdout),
    "recursion": ("import sys; sys.setrecursionlimit(5000)", sys.getrecursionlimit),
    "garbage": ("import gc; gc.disable(); gc.set_threshold(7)", lambda: (gc.isenabled(), gc.get_threshold())),
    "sockets": ("import socket; socket.setdefaulttimeout(1)", socket.getdefaulttimeout),
    "locale": ("import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')", lambda: locale.setlocale(locale.LC_ALL)),
    "numpy's errors": ("import numpy; numpy.seterr(all='raise')", np.geterr),
    "pillow": (
        "from PIL import Image, ImageFile; ImageFile.LOAD_TRUNCATED_IMAGES = True; Image.MAX_IMAGE_PIXELS = 1",
        lambda: (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS),
    ),
}


@pytest.mark.parametrize("state", STATE)
def test_what_a_file_does_to_the_process_is_undone(state: str, tmp_path: Path) -> None:
    code, read = STATE[state]
    (tmp_path / "mine.py").write_text(f"{code}\ndef f(): pass\n")
    logging.getLogger("ray")
    use({"": tmp_path})
    before = read()
    load("mine.py:f")
    assert read() == before
    with undone(None):  # which brings it back for the tests after this one
        exec(code, {})
        changed = read() != before
    assert changed or state == "locale"


def test_what_a_file_prints_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("print('hello')\ndef f(): pass\n")
    use({"": tmp_path})
    load("mine.py:f")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys\n\nsys.exit(3)", "mine.py, line 3: it ends the program (sys.exit(3))"),
        (
            "import argparse\nargparse.ArgumentParser().add_argument('x')\nraise SystemExit",
            "line 3: it ends the program",
        ),
        ("def f(:\n", "mine.py, line 1: SyntaxError"),
        ("x = 1 / 0\n", "mine.py, line 1: ZeroDivisionError: division by zero"),
        ("import no_such_package\n", "mine.py, line 1: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(code: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(code)
    use({"": tmp_path})
    with pytest.raises(UserCodeError, match=r"mine.py:f: cannot be imported") as caught:
        load("mine.py:f")
    assert said in str(caught.value)
