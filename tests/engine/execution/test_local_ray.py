"""A private Ray that starts in the background, and processes of trials that are ready before Ray Tune asks for them."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import ROOT
from core.files import remove_marked
from engine.execution import local_ray, prepared_workers


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_a_prepared_process_has_every_call_that_ray_tune_makes():
    from ray.tune import Trainable

    calls = prepared_workers.CALLED_BY_TUNE
    assert {name for name in calls if not hasattr(Trainable, name)} == set()
    source = (Path(sys.modules["ray.tune"].__file__ or "").parent / "execution" / "tune_controller.py").read_text()
    asked = {name for name in dir(Trainable) if f'"{name}"' in source and not name.startswith("_")}
    assert asked <= {*calls, "config"}


def test_ray_tune_takes_prepared_processes_first_and_then_starts_its_own(monkeypatch: pytest.MonkeyPatch):
    from ray.tune.execution import tune_controller

    became: list[object] = []
    prepared = SimpleNamespace(become=SimpleNamespace(remote=lambda *given: became.append(given)))
    own = SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda **given: ("own", options, given)))
    monkeypatch.setattr(tune_controller._ActorClassCache, "get", lambda self, trainable: own)
    monkeypatch.setattr(prepared_workers, "_PREPARED", [prepared])
    with prepared_workers.used_by_tune():
        cache = tune_controller._ActorClassCache()
        first, second = (cache.get(str).options(num_cpus=1).remote(config=number) for number in (1, 2))
        assert first is prepared
        assert became == [(str, {"config": 1})]
        assert second == ("own", {"num_cpus": 1}, {"config": 2})
        assert cache.get(str).options(num_cpus=2).remote(config=3)[1] == {"num_cpus": 2}
    assert prepared_workers._OTHERS == []
    assert tune_controller._ActorClassCache().get(str) is own


def test_the_first_call_raises_what_kept_a_prepared_process_from_becoming_the_trainable():
    """Else Ray Tune would see an AttributeError of ours."""

    class Trainable:
        def __init__(self, config):
            if config:
                raise ImportError("no module named mine")

        def train(self):
            return "trained"

    process = prepared_workers.TrialProcess()
    process.become(Trainable, {"config": 1})
    with pytest.raises(ImportError, match="no module named mine"):
        process.train()
    process.become(Trainable, {"config": 0})
    assert process.train() == "trained"


@pytest.mark.parametrize(
    ("options", "found", "count"),
    [
        ({}, {"CPU": 4.0}, 4),
        ({"cpus_per_trial": 2.0}, {"CPU": 5.0}, 2),
        ({"max_concurrent": 1}, {"CPU": 4.0}, 1),
        ({}, {"CPU": 64.0}, local_ray.MOST_WORKERS),
        ({}, {"CPU": 4.0, "GPU": 1.0}, 0),
        ({"gpus_per_trial": 0.0}, {"CPU": 4.0, "GPU": 1.0}, 4),
    ],
)
def test_as_many_are_prepared_as_trials_will_run_at_a_time(monkeypatch: pytest.MonkeyPatch, options, found, count):
    asked = []
    monkeypatch.setattr(local_ray, "begin", lambda workers, meanwhile: asked.append(workers(found)))
    local_ray.begin_early(options, lambda: None)
    assert asked == [count]
    local_ray.begin_early({**options, "address": "10.0.0.1:6379"}, lambda: None)
    assert asked == [count]


def test_a_plan_and_a_trial_import_neither_torch_s_compiler_nor_slow_statistics(tmp_path: Path):
    done = python(
        """
        import sys
        from pathlib import Path
        from engine.planning.disk_estimate import Footprints
        from engine.planning.plan import make_plan
        from engine.planning.run_options import Options
        from search_spaces.registry import STUDIES
        from trainables.trial.trial import Trial
        plan = make_plan(STUDIES["digits/long-tail"], Options(epochs=1, seeds=1), Path(sys.argv[1]))
        Footprints(plan).of(plan.baseline)
        Trial(plan.trials[0]).advance()
        print([name for name in ("torch._dynamo", "sympy", "scipy.stats", "sklearn", "IPython") if name in sys.modules])
        import torch
        print(float(torch.compile(torch.nn.ReLU(), backend="eager")(torch.ones(1))))
        """,
        tmp_path,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "1.0"], done.stderr


@pytest.mark.matrix
def test_ray_begins_in_the_background_and_is_gone_with_the_process_that_needs_it_no_more(tmp_path: Path):
    """Whether it was used or not; its processes too."""
    code = """
        import os, sys
        from engine.execution import local_ray
        local_ray.begin_early({"max_concurrent": 1}, lambda: None)
        if sys.argv[1] == "used":
            with local_ray.started() as ends:
                import ray
                print(ends, ray.cluster_resources()["CPU"] > 0, file=sys.stderr)
                from ray._private import worker
                print(*(info.process.pid for infos in worker._global_node.all_processes.values() for info in infos))
                print(worker._global_node.get_session_dir_path())
            with local_ray.started() as ends:  # another one
                print(ends, file=sys.stderr)
        """
    assert python(code, "not").returncode == 0
    done = python(code, "used")
    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == ["True", "True", "True"]
    *pids, session = done.stdout.split()
    assert not [pid for pid in pids if Path("/proc", pid).exists()]
    assert not Path(session).exists()


@pytest.mark.matrix
def test_ray_s_processes_and_files_do_not_outlive_a_killed_driver():
    code = """
        import os, signal
        from engine.execution import local_ray
        local_ray.begin()
        with local_ray.started():
            from ray._private import worker
            infos = [info for each in worker._global_node.all_processes.values() for info in each]
            print(worker._global_node.get_session_dir_path(), *(info.process.pid for info in infos), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    done = python(code)
    assert done.returncode == -9
    session, *pids = done.stdout.split()
    assert pids
    assert Path(session).is_dir()
    remove_marked.cache_clear()
    remove_marked(Path(session).parent, "session_").join()  # as the next start does
    assert not Path(session).exists()
    over, left = threading.Event(), set(pids)
    for _ in range(100):
        left = {pid for pid in left if _command(pid)}
        if not left:
            return
        over.wait(0.1)
    raise AssertionError([_command(pid) for pid in left])


def _command(pid: str) -> str:
    """Empty of a process that is over, also where nobody has taken its status yet."""
    try:
        return Path("/proc", pid, "cmdline").read_text()
    except OSError:
        return ""
