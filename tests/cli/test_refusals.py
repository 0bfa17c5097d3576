"""Whatever cannot work ends with exit status 2 and one message a fault, before Ray starts and any file is written."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Cli

LONG = "x" * 256
STUDY = "digits/long-tail"
PETS = "folder/ablation --set dataset.path=pets --set dataset.image_size=16"

# (the command, in a folder as `scene` makes it; what its message must name). A new refusal is a line.
REFUSALS: list[tuple[str, tuple[str, ...]]] = [
    # what to run
    ("plan digits/long-tial", ("digits/long-tial", "did you mean 'digits/long-tail'?")),
    ("run digits/long-tial", ("digits/long-tial", "did you mean 'digits/long-tail'?")),
    ("run absent.yaml", ("absent.yaml", "cannot be read")),
    ("run mine.yaml", ("mine.yaml", "factrs", "did you mean 'factors'?")),
    (f"run {STUDY} --set optimizer.learning_rate=1", ("optimizer.learning_rate: unknown setting", "optimizer.lr")),
    (f"run {STUDY} --set modle.hidden=3", ("modle.hidden: unknown setting", "did you mean 'model'?")),
    (f"run {STUDY} --set optimizer.lr=fast", ("optimizer.lr", "'fast'", "number")),
    (f"run {STUDY} --set training.epochs=2.5", ("training.epochs", "2.5", "whole number")),
    (f"run {STUDY} --set augmentation.flip=yes", ("augmentation.flip", "'yes'", "true or false")),
    (f"run {STUDY} --set training.precision=fp16", ("training.precision", "fp16", "fp32, bf16")),
    (f"run {STUDY} --set optimizer.momentum=0.9", ("optimizer.momentum", "unknown setting")),
    (f"run {STUDY} --set model.bn_after=conv9", ("model.bn_after", "'conv9'", "did you mean 'conv")),
    (f"run {STUDY} --set dataset=digits", ("dataset: names a group",)),
    (f"run {STUDY} --set loss.name=focal", ("--set loss.name: the study varies it",)),
    (f"run {STUDY} --levels sampler=uniform,wieghted", ("no level 'wieghted'", "did you mean 'weighted'?")),
    (f"run {STUDY} --levels samplr=uniform,weighted", ("no such factor", "did you mean 'sampler'?")),
    (f"run {STUDY} --levels sampler=weighted", ("baseline level 'uniform' must be among them",)),
    (f"run {STUDY} --design factorail", ("did you mean 'factorial'?",)),
    (f"run {STUDY} --samples 3", ("--samples", "is an ablation")),
    ("run digits/search --design ladder", ("--design", "is a search")),
    ("run digits/search --sampler tpee", ("tpee", "tpe")),
    ("run digits/search --trial-scheduler ashaa", ("--trial-scheduler", "did you mean 'asha'?")),
    # a setting that changes nothing, a space that cannot be
    (
        f"run {STUDY} --set model.dropout_rate=0.3",
        ("has no effect: model.dropout_after is []",),
    ),
    (f"run {STUDY} --set selection.epoch=3", ('selection.epoch = 3 has no effect: selection.rule is "best"',)),
    (
        f"run {PETS} --set model.name=resnet18 --set model.weights_file.resnet18=absent.pth",
        ("model.weights_file.resnet18", "has no effect: model.pretrained is false"),
    ),
    ("run edge.yaml", ("edge.yaml: line 6: ", "training.batch_size", "1 is out of range; allowed: 2 and more")),
    ("run never.yaml", ("never.yaml: line 6: ", "when optimizer.name is 'SGD'", "did you mean 'sgd'?")),
    ("run unused.yaml", ("unused.yaml: line 7: ", "model.dropout_rate has no effect where model.dropout_after is []")),
    ("run twice.yaml", ("twice.yaml: line 4: ", "epochs: stands twice, first in line 3")),
    ("run alike.yaml", ("alike.yaml: line 7: ", "names a level twice: on, On")),
    ("run digits/search --objectives seconds", ("objectives: 'seconds' alone",)),
    ("run epochs.yaml --epochs 3", ("--epochs: the study varies training.epochs",)),
    ("run up.yaml", ("up.yaml: line 1: ", "is no path below results/")),
    ("run digits/search --set training.patience=99", ("training.patience = 99 has no effect: training.epochs is",)),
    (
        f"run {STUDY} --set schedule.name=multistep --set schedule.milestones=[] --set schedule.gamma=0.2",
        ("schedule.gamma = 0.2 has no effect: schedule.milestones is []",),
    ),
    (f"run {STUDY} --epochs 3 --set training.epochs=4", ("--epochs and --set training.epochs give 3 and 4",)),
    (
        f"run {STUDY} --limit-train 50 --set dataset.limit_train=60",
        ("--limit-train and --set dataset.limit_train give 50 and 60",),
    ),
    (f"run {STUDY} --drop-leaks --set dataset.drop_leaks=false", ("--drop-leaks and --set dataset.drop_leaks",)),
    # the line of a part of a setting, of a field that another one stands for
    ("run part.yaml", ("part.yaml: line 4: ", "model.channels.1: takes a whole number (got 'x')")),
    ("run deep.yaml", ("deep.yaml: line 4: ", 'optimizer.lr: takes a number (got {"x": 1})')),
    ("run curve.yaml", ("curve.yaml: line 4: ", "objectives: 'val_roughness' may not be one")),
    ("run budget.yaml", ("budget.yaml: line 3: ", "epochs: 2 has no effect: training.epochs is 9 by the baseline")),
    ("run kinds.yaml", ("kinds.yaml: line 5: ", "space.0.key: is missing")),
    ("run nowhere.yaml", ("nowhere.yaml: line 4: ", "nowhere", "layout")),
    # how much
    *((f"run {STUDY} {name} 0", (name, "0 is out of range")) for name in ("--seeds", "--epochs")),
    (f"run {STUDY} --time-budget soon", ("--time-budget", "8h", "'soon'")),
    (f"run {STUDY} --disk-budget much", ("--disk-budget", "20GB", "'much'")),
    (f"run {STUDY} --disk-budget 1kB", ("--disk-budget 1.0 kB", "allowed")),
    # the data
    ("run folder/ablation --data-root nowhere", ("nowhere", "layout", "CLASS/*.jpg")),
    ("run folder/ablation", ("--set dataset.path=DIR or --data-root DIR",)),
    ("run folder/ablation --set dataset.path=gaps", ("ferret",)),
    ("run folder/ablation --set dataset.path=torn", ("cat/3.png",)),
    (f"run folder/ablation --set dataset.path={LONG}", ("name too long",)),
    # where
    (f"run {STUDY} --out begun", ("--out", "begun", "holds a run already", "resume")),
    (f"run {STUDY} --out file", ("--out", "file is no folder")),
    (f"run {STUDY} --out file/run", ("--out", "file is no folder")),
    (f"run {STUDY} --out {LONG}", ("xxx", "256 bytes", "up to 255")),
    (f"run {STUDY} --out {'ü' * 128}", ("256 bytes", "up to 255")),
    (f"run {STUDY} --out deep/{'folder/' * 600}", ("bytes", "up to 3946")),
    (f"run {PETS} --out pets/results", ("--out", "lies in the data folder")),
    (f"plan {PETS} --out pets/cat/run", ("--out", "lies in the data folder")),
    (f"run {PETS} --out pets", ("--out", "lies in the data folder")),
    (f"run {PETS} --out .", ("--out", "would hold the data folder")),
    (f"run {PETS} --out link/run", ("--out", "lies in the data folder")),
    (f"run {STUDY} --reuse-from pets", ("--reuse-from", "no run directory")),
    (f"run {STUDY} --reuse-from {LONG}", ("name too long",)),
    (f"run {STUDY} --cache-dir file/cache", ("file/cache", "--cache-dir")),
    (f"run {STUDY} --address nowhere", ("--address nowhere", "HOST:PORT")),
    (f"run {STUDY} --address 127.0.0.1:9", ("--address 127.0.0.1:9", "no Ray cluster answers")),
    *((f"{command} pets", ("no run directory",)) for command in ("status", "report", "resume", "confirm")),
    *((f"{command} pets {LONG}", ("no run directory",)) for command in ("rerun", "predict")),
    *((f"{command} {LONG}", ("256 bytes",)) for command in ("status", "report", "resume", "confirm")),
    (f"compare {LONG} begun", ("256 bytes",)),
    # resources
    (f"run {STUDY} --cpus-per-trial 0", ("--cpus-per-trial", "out of range; allowed: more than 0")),
    (f"run {STUDY} --max-concurrent 0", ("--max-concurrent", "out of range; allowed: 1 and more")),
    (f"run {STUDY} --cpus-per-trial 100000", ("--cpus-per-trial 100000", "this machine has", "allowed: up to")),
    (f"run {STUDY} --gpus-per-trial 64", ("--gpus-per-trial 64", "this machine has", "allowed: ")),
    (f"run {STUDY} --gpus-per-trial all", ("--gpus-per-trial", "'all'")),
    (f"run {STUDY} --fuse 1", ("--fuse", "neither off, auto nor")),
    (f"run {STUDY} --mlflow http://me:secret@host", ("--mlflow", "password")),
    # the command line itself
    (f"run {STUDY} --sedes 3", ("--sedes", "--seeds")),
    (f"run {STUDY} --set lr", ("'lr'", "KEY=VALUE")),
    ("report begun --port 70000", ("--port", "70000")),
    ("list study", ("'study'", "studies")),
    ("settings optimiser", ("settings optimiser", "did you mean 'optimizer'?")),
    ("prepare digit", ("'digit'", "did you mean 'digits'?")),
]


HEAD, FACTORS = "name: mine\nworkload: digits\nepochs: 2\n", "design: one_at_a_time\nfactors:\n"
OPTIMIZER = "- {key: optimizer.name, choices: [sgd, adam]}\n"
MOMENTUM = "- {name: momentum, levels: [{name: a}, {name: b, settings: {optimizer.momentum: 0.9}}]}\n"
STUDIES = {
    "mine": f"{HEAD}factrs: []\n",
    "edge": f"{HEAD}samples: 4\nspace:\n- {{key: training.batch_size, kind: int, low: 1, high: 9}}\n",
    "never": f"{HEAD}space:\n{OPTIMIZER}- {{key: optimizer.momentum, when: {{optimizer.name: SGD}}}}\n",
    "unused": f"{HEAD}samples: 4\nspace:\n- {{key: model.dropout_after, choices: [[], [conv1]]}}\n"
    "- {key: model.dropout_rate}\n",
    "twice": f"{HEAD}epochs: 3\n{FACTORS}",
    "alike": f"{HEAD}{FACTORS}- name: norm\n  levels: [{{name: 'off'}}, {{name: 'on'}}, {{name: 'On'}}]\n",
    "epochs": f"{HEAD}space:\n- {{key: training.epochs, low: 1, high: 9}}\n",
    "part": f"{HEAD}baseline: {{model.channels: [16, x]}}\n{FACTORS}{MOMENTUM}",
    "deep": f"{HEAD}baseline: {{optimizer.lr.x: 1}}\n{FACTORS}{MOMENTUM}",
    "curve": f"{HEAD}objectives: [val_roughness]\nspace:\n{OPTIMIZER}",
    "budget": f"{HEAD}baseline: {{training.epochs: 9}}\n{FACTORS}{MOMENTUM}",
    "kinds": f"{HEAD}space:\n- {{kind: float}}\n",
    "nowhere": f"{HEAD}baseline: {{dataset.path: nowhere}}\n{FACTORS}{MOMENTUM}".replace("digits", "folder"),
    "up": f"{HEAD}samples: 4\nspace:\n{OPTIMIZER}".replace("mine", "../mine"),
}


def folder_of_pictures(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 12) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (20, 20), (number * 60, i * 9, 40)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets, whole and faulty, a run that was begun, a file, a link: only read."""
    root = tmp_path_factory.mktemp("scene")
    folder_of_pictures(root / "pets")
    (folder_of_pictures(root / "gaps") / "ferret").mkdir()
    torn = folder_of_pictures(root / "torn") / "cat" / "3.png"
    torn.write_bytes(torn.read_bytes()[:40])
    (root / "begun").mkdir()
    (root / "begun" / "study.json").write_text("{}")
    (root / "file").touch()
    (root / "link").symlink_to("pets")
    for name, text in STUDIES.items():
        (root / f"{name}.yaml").write_text(text)
    return root


def contents(root: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with its size and when it changed."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(root.rglob("*"))}


@pytest.mark.parametrize(("command", "needles"), REFUSALS, ids=[command[:70] for command, _ in REFUSALS])
def test_a_refusal_names_what_is_wrong_in_three_lines_and_leaves_nothing(
    command: str, needles: tuple[str, ...], scene: Path, cli_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene)
    if ray := sys.modules.get("ray"):  # that of other tests in this process is none that a command may use
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
    before = contents(scene)
    faults = refused(cli_here(*shlex.split(command)), *needles)
    assert all(len(fault) < 1500 for fault in faults)
    assert contents(scene) == before


def refused(done: "subprocess.CompletedProcess[str]", *needles: str) -> list[str]:
    """The faults of a refused command, of at most three lines each, behind what it said that it does."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for needle in needles:
        assert needle in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    first = next(number for number, line in enumerate(lines) if line.startswith(("error: ", "Usage: ")))
    faults = [line for line in lines if line.startswith(("error: ", "Error: "))]
    assert len(lines) - first <= 3 * len(faults), done.stderr
    return faults


def test_every_fault_is_told_at_once(cli_here: Cli) -> None:
    settings = ["optimizer.lr=high", "training.batch_size=0.5", "dataset.imbalance_factor=0", "modle.hidden=3"]
    done = cli_here("plan", "digits/long-tail", *(word for setting in settings for word in ("--set", setting)))
    faults = refused(done, "optimizer.lr", "'high'", "training.batch_size", "0.5", "dataset.imbalance_factor")
    refused(done, "modle.hidden: unknown setting", "did you mean 'model'?")
    assert len(faults) == 4


def test_faults_of_the_place_and_of_the_machine_are_told_together(
    scene: Path, cli_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene)
    arguments = ["--out", "pets/run", "--cpus-per-trial", "1e6", "--gpus-per-trial", "64"]
    done = cli_here("run", *shlex.split(PETS), *arguments)
    assert len(refused(done, "lies in the data folder", "--cpus-per-trial", "--gpus-per-trial")) == 3


def test_a_folder_of_data_in_which_a_run_was_refused_is_whole(
    tmp_path: Path, cli_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_of_pictures(tmp_path / "pets"))
    refused(cli_here("run", "folder/ablation", "--set", "dataset.path=."), "lies in the data folder")
    monkeypatch.chdir(tmp_path)
    done = cli_here("plan", "folder/ablation", "--set", "dataset.path=pets", "--seeds", "1", "--epochs", "1")
    assert done.returncode == 0, done.stderr


def test_a_setting_or_a_factor_given_twice_is_refused_with_both_values(cli_here: Cli) -> None:
    for option, key, values in (("--set", "optimizer.lr", ("1", "2")), ("--levels", "loss", ("ce", "ce,focal"))):
        done = cli_here("plan", "digits/long-tail", *(word for value in values for word in (option, f"{key}={value}")))
        assert done.returncode == 2
        assert f"'{key}' is given twice, as '{values[0]}', '{values[1]}'; give it once" in done.stderr
    same = ("--set", "optimizer.lr=0.1") * 2
    assert cli_here("plan", "digits/long-tail", *same, "--json").returncode == 0


def test_what_only_the_plan_of_a_file_shows_names_its_lines_too(cli_here: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nworkload: digits\nepochs: 2\nmetric: test_acuracy\ndesign: one_at_a_time\n"
        "baseline: {optimizer.lr: fast}\nfactors:\n- name: m\n  levels:\n  - name: off\n  - name: 2:1\n"
        "    settings:\n      optimizer.momentm: 0.9\n",
        encoding="utf-8",
    )
    for command in ("plan", "run"):
        done = cli_here(command, file, "--out", tmp_path / "out")
        refused(done, f"{file}: line 6: optimizer.lr: ", f"{file}: line 13: m=2:1: optimizer.momentm: unknown setting")
    refused(cli_here("plan", file, "--set", "optimizer.lr=x"), "error: optimizer.lr: ")  # which the file does not hold
    text = file.read_text().replace("fast", "0.1").replace("momentm", "momentum")
    file.write_text(text, encoding="utf-8")
    refused(cli_here("plan", file), f"{file}: line 4: metric: 'test_acuracy' is not recorded")
    file.write_text(text.replace("digits", "digit"), encoding="utf-8")
    refused(cli_here("plan", file), f"{file}: line 2: workload 'digit' is unknown")


def test_a_file_of_configurations_is_read_like_a_study(cli_here: Cli, tmp_path: Path) -> None:
    file = tmp_path / "points.yaml"
    for text, fault in (
        ("- {optimizer.lr: 0.1, optimizer.lr: 0.2}", "line 1: 0.optimizer.lr: stands twice, first in line 1"),
        ("- {optimizer.lr: 0.1", "line 1: cannot be read"),
        ("optimizer.lr: 0.1", "holds no list of configurations"),
        ("", "holds no list of configurations"),
    ):
        file.write_text(text, encoding="utf-8")
        refused(cli_here("plan", "digits/search", "--enqueue", file), f"--enqueue {file}: {fault}")


def test_a_configuration_outside_of_the_space_is_told_with_its_line(tmp_path: Path, cli_here: Cli) -> None:
    file = tmp_path / "points.yaml"
    file.write_text("- optimizer.lr: 0.1\n  optimizer.momentum: 2\n- {foo: 1}\n")
    line = f"--enqueue {file}: line"
    refused(
        cli_here("plan", "digits/search", "--enqueue", str(file)),
        f"{line} 2: optimizer.momentum: 2 is outside of the space",
        f"{line} 3: foo: not in the space",
    )


def test_two_unreadable_pictures_are_named(cli_here: Cli, tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path / "pets")
    (root / "cat" / "3.png").write_bytes((root / "cat" / "3.png").read_bytes()[:40])
    (root / "dog" / "text.jpg").write_text("not a picture")
    done = cli_here("run", "folder/ablation", "--set", f"dataset.path={root}")
    assert len(refused(done, "cat/3.png", "dog/text.jpg")) == 2


def test_another_package_named_datasets_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import datasets; sys.path[:0] = [{str(ROOT)!r}]; "
    code += "import run_search; run_search.main(['list'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    refused(done, str(tmp_path / "datasets"), "another package")


@pytest.mark.alone
@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("list", "workloads"), ("list", "datasets", "--json")])
def test_help_and_lists_take_under_six_tenths_of_a_cpu_second(arguments: tuple[str, ...]) -> None:
    """On a slow or busy machine: under five times what it takes to import what they rest on."""
    ours = [cpu_seconds("run_search.py", *arguments) for _ in range(3)]
    libraries = [cpu_seconds("-c", "import click, numpy, pydantic, yaml") for _ in range(3)]
    assert min(ours) < max(0.6, 5 * min(libraries))


def cpu_seconds(*arguments: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def test_a_refusal_for_a_name_needs_no_heavy_import() -> None:
    assert not loaded("run", "digits/long-tial") & {"torch", "ray", "optuna"}


def loaded(*arguments: str) -> set[str]:
    """Top-level modules that a command has imported by its end."""
    code = f"import sys, runpy\nsys.argv = ['run_search.py', *{list(arguments)!r}]\n"
    code += "try:\n    runpy.run_path('run_search.py', run_name='__main__')\nexcept SystemExit:\n    pass\n"
    code += "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_and_list_import_neither_torch_nor_ray() -> None:
    for arguments in (("--help",), ("list",), ("list", "workloads"), ("list", "datasets")):
        assert not loaded(*arguments) & {"torch", "ray", "optuna", "pandas", "sklearn"}
