"""Processes that import what a trial needs while the driver makes its plan; Ray Tune's first actors use them.

Ray starts an actor's process when Tune asks for the actor, and the process then imports torch and Ray Tune for seconds.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

_PREPARED: list[Any] = []
"""handles of `TrialProcess` actors, those that began first at the front"""
_OTHERS: list[str] = []
"""names of the Trainables of actors that Ray Tune has started itself meanwhile"""
LOCK = threading.Lock()
CALLED_BY_TUNE = (
    "train",
    "train_buffered",
    "save",
    "restore",
    "reset",
    "stop",
    "export_model",
    "get_auto_filled_metrics",
    "get_current_ip_pid",
)


class TrialProcess:
    """An actor that becomes the Trainable that Ray Tune asks for, and passes its calls on."""

    def __init__(self) -> None:
        import trainables.trainable
        import trainables.trial.trial  # noqa: F401

    def loaded(self) -> None:
        """Returns once the process has imported all."""

    def become(self, trainable: type, arguments: dict[str, Any]) -> None:
        """Nobody asks what this returns, so an error of it is raised by the first call that follows."""
        self.error: Exception | None = None
        try:
            with patch("ray.tune.trainable.trainable.disable_ipython"):  # which imports IPython where it is installed
                self.trainable = trainable(**arguments)
        except Exception as error:
            self.error = error


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: TrialProcess, *arguments: Any, **named: Any) -> Any:
        if self.error is not None:
            raise self.error
        return getattr(self.trainable, name)(*arguments, **named)

    return call


# A handle of Ray's knows the methods of the actor's class alone.
for _name in CALLED_BY_TUNE:
    setattr(TrialProcess, _name, _passed_on(_name))


def prepare(count: int, over: threading.Event, meanwhile: Callable[[], object]) -> None:
    """Starts `count` workers: all but one at once, which leaves the driver a core, and the last when they are ready.

    `meanwhile` is called before these are waited for.
    """
    import ray

    actor = ray.remote(num_cpus=0)(TrialProcess)

    def start(number: int) -> list[Any]:
        with LOCK:
            if over.is_set():
                return []
            made = [actor.remote() for _ in range(number)]
            _PREPARED.extend(made)
        return [worker.loaded.remote() for worker in made]

    if first := start(max(min(count, 1), count - 1)):
        meanwhile()
        ray.wait(first, num_returns=len(first), timeout=60)
        start(max(0, count - len(first) - len(_OTHERS)))


@contextmanager
def used_by_tune() -> Iterator[None]:
    """Within the block, an actor that Ray Tune starts is a prepared worker, as long as there are any."""
    from ray.tune.execution import tune_controller

    known = tune_controller._ActorClassCache

    class Cache(known):  # type: ignore[valid-type, misc]
        def get(self, trainable: type) -> Any:
            made = super().get(trainable)
            if not hasattr(made, "unprepared"):
                made.unprepared = made.options
                made.options = lambda **options: _Asked(trainable, lambda: made.unprepared(**options))
            return made

    with patch.object(tune_controller, "_ActorClassCache", Cache):
        try:
            yield
        finally:
            forget()


class _Asked:
    """What Ray Tune calls to start an actor."""

    def __init__(self, trainable: type, otherwise: Callable[[], Any]) -> None:
        self.trainable, self.otherwise = trainable, otherwise

    def remote(self, **arguments: Any) -> Any:
        with LOCK:
            worker = _PREPARED.pop(0) if _PREPARED else None
        if worker is None:
            _OTHERS.append(self.trainable.__name__)
            return self.otherwise().remote(**arguments)
        worker.become.remote(self.trainable, arguments)
        return worker


def forget() -> None:
    """Ends the workers that no trial uses: their handles were the last."""
    with LOCK:
        _PREPARED.clear()
        _OTHERS.clear()
