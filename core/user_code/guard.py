"""Undoes what importing a user's file changes in the process: seeds, threads, torch's defaults, folders, logging …"""

import contextlib
import gc
import importlib
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from core.user_code.reads import watched

_depth = threading.local()


@contextmanager
def undone(file: Path | None) -> Iterator[None]:
    """After the block, the state of the process is as before; within it, what is printed goes to standard error, and
    `sys.argv` has the `file` alone."""
    if getattr(_depth, "inside", False):
        yield
        return
    _depth.inside = True
    try:
        with ExitStack() as stack:
            for restore in _restorers():
                stack.callback(restore)
            stack.enter_context(warnings.catch_warnings())
            stack.enter_context(printed_apart())
            stack.enter_context(watched())
            sys.argv = [str(file or "")]
            sys.dont_write_bytecode = True  # nothing is written into a user's folder
            yield
    finally:
        _depth.inside = False


def printed_apart() -> AbstractContextManager[Any]:
    """In the block, what is printed goes to standard error, as a user's code may print and standard output is ours."""
    return contextlib.redirect_stdout(sys.stderr)


def _restorers() -> Iterator[Callable[[], object]]:
    """For each part of the state, what brings it back to what it is now."""
    for module, names in _ATTRIBUTES:
        for name in names:
            yield _attribute(module, name)
    for values in (sys.path, sys.meta_path, sys.path_hooks):
        yield _list(values)
    yield partial(random.setstate, random.getstate())
    yield partial(numpy.random.set_state, numpy.random.get_state())
    yield partial(numpy.seterr, **numpy.geterr())
    yield partial(os.chdir, Path.cwd())
    yield partial(_environment, dict(os.environ))
    yield partial(sys.setrecursionlimit, sys.getrecursionlimit())
    yield partial(gc.set_threshold, *gc.get_threshold())
    yield gc.enable if gc.isenabled() else gc.disable
    yield partial(locale.setlocale, locale.LC_ALL, locale.setlocale(locale.LC_ALL))
    yield partial(socket.setdefaulttimeout, socket.getdefaulttimeout())
    yield _logging()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP):
            yield partial(signal.signal, number, signal.getsignal(number))
    yield from _torch()
    yield from _pillow()


_ATTRIBUTES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (sys, ("argv", "path", "stdin", "stdout", "stderr", "excepthook", "displayhook", "unraisablehook")),
    (sys, ("dont_write_bytecode",)),
    (threading, ("excepthook",)),
)


def _attribute(module: Any, name: str) -> Callable[[], object]:
    value = getattr(module, name)
    return lambda: setattr(module, name, value)


def _list(values: list[Any]) -> Callable[[], object]:
    copy = list(values)
    return lambda: values.__setitem__(slice(None), copy)


def _environment(old: dict[str, str]) -> None:
    for name in os.environ.keys() - old.keys():
        del os.environ[name]
    for name, value in old.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _logging() -> Callable[[], object]:
    """Levels, handlers and switches of every logger that there is."""
    manager = logging.root.manager
    loggers = [logging.root, *(each for each in manager.loggerDict.values() if isinstance(each, logging.Logger))]
    old = [(each, each.level, list(each.handlers), each.propagate, each.disabled) for each in loggers]
    disabled, raises = manager.disable, logging.raiseExceptions

    def restore() -> None:
        logging.captureWarnings(False)
        logging.raiseExceptions = raises
        manager.disable = disabled
        for logger, level, handlers, propagate, off in old:
            if logger.level != level:  # setting it empties the caches of all loggers
                logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate, logger.disabled = propagate, off

    return restore


def _torch() -> Iterator[Callable[[], object]]:
    torch: Any = importlib.import_module("torch")  # which every user of a user's file has loaded, and core has not
    yield partial(torch.set_rng_state, torch.get_rng_state())
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    yield partial(torch.set_num_threads, torch.get_num_threads())
    yield partial(torch.set_default_dtype, torch.get_default_dtype())
    yield partial(torch.set_grad_enabled, torch.is_grad_enabled())
    yield partial(torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled())
    yield partial(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    yield partial(torch.use_deterministic_algorithms, strict, warn_only=warns)
    for kind in ("cpu", "cuda"):
        yield partial(torch.set_autocast_enabled, kind, torch.is_autocast_enabled(kind))
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield _attribute(torch.backends.cudnn, name)
    device = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)

    def device_again() -> None:
        if getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None) is not device:
            torch.set_default_device(device and device.device)

    yield device_again
    flushes = _flushes(torch)
    yield lambda: torch.set_flush_denormal(flushes) if _flushes(torch) != flushes else None


def _flushes(torch: Any) -> bool:
    """Whether the processor takes denormal numbers for 0."""
    return bool((torch.full((1,), 1e-38, device="cpu", dtype=torch.float32) / 100)[0] == 0)


def _pillow() -> Iterator[Callable[[], object]]:
    """Settings by which every picture is decoded."""
    for module, name in (("PIL.Image", "MAX_IMAGE_PIXELS"), ("PIL.ImageFile", "LOAD_TRUNCATED_IMAGES")):
        yield _attribute(importlib.import_module(module), name)
