"""Whatever cannot work ends with exit status 2 and one message a fault, before Ray starts and any file is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Cli


def folder_of_pictures(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 12) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (20, 20), (number * 60, i * 9, 40)).save(root / name / f"{i}.png")
    return root


def refused(done: "subprocess.CompletedProcess[str]", *needles: str) -> list[str]:
    """The faults of a refused command; Ray never came up."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for needle in needles:
        assert needle in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("command", ["plan", "run"])
def test_unknown_study_names_the_nearest(command: str, cli_here: Cli) -> None:
    assert (
        len(refused(cli_here(command, "digits/long-tial"), "digits/long-tial", "did you mean 'digits/long-tail'?")) == 1
    )


def test_unknown_setting_names_the_nearest(cli_here: Cli, tmp_path: Path) -> None:
    done = cli_here("run", "digits/long-tail", "--set", "optimizer.learning_rate=1", "--out", tmp_path / "run")
    refused(done, "optimizer.learning_rate: unknown setting", "optimizer.lr")
    assert not (tmp_path / "run" / "study.json").exists()


def test_every_fault_is_told_at_once(cli_here: Cli) -> None:
    settings = ["optimizer.lr=high", "training.batch_size=0.5", "dataset.imbalance_factor=0", "modle.hidden=3"]
    done = cli_here("plan", "digits/long-tail", *(word for setting in settings for word in ("--set", setting)))
    faults = refused(done, "optimizer.lr", "'high'", "training.batch_size", "0.5", "dataset.imbalance_factor")
    refused(done, "modle.hidden: unknown setting", "did you mean 'model'?")
    assert len(faults) == 4


@pytest.mark.parametrize(
    ("setting", "needles"),
    [
        ("optimizer.lr=fast", ("optimizer.lr", "'fast'", "number")),
        ("training.epochs=2.5", ("training.epochs", "2.5", "whole number")),
        ("augmentation.flip=yes", ("augmentation.flip", "'yes'", "true or false")),
        ("training.precision=fp16", ("training.precision", "fp16", "fp32, bf16")),
        ("optimizer.momentum=0.9", ("optimizer.momentum", "unknown setting")),
        ("model.bn_after=conv9", ("model.bn_after", "'conv9'", "did you mean 'conv")),
        ("dataset=digits", ("dataset: names a group",)),
    ],
)
def test_a_wrong_setting_is_told_with_its_value_and_what_is_allowed(
    setting: str, needles: tuple[str, ...], cli_here: Cli
) -> None:
    assert len(refused(cli_here("run", "digits/long-tail", "--set", setting), *needles)) == 1


def test_a_setting_that_the_study_varies_is_refused(cli_here: Cli) -> None:
    refused(cli_here("run", "digits/long-tail", "--set", "loss.name=focal"), "--set loss.name: the study varies it")


@pytest.mark.parametrize(
    ("levels", "needles"),
    [
        ("sampler=uniform,wieghted", ("no level 'wieghted'", "did you mean 'weighted'?")),
        ("samplr=uniform,weighted", ("no such factor", "did you mean 'sampler'?")),
        ("sampler=weighted", ("baseline level 'uniform' must be among them",)),
    ],
)
def test_unknown_levels_and_factors_are_refused(levels: str, needles: tuple[str, ...], cli_here: Cli) -> None:
    refused(cli_here("run", "digits/long-tail", "--levels", levels), *needles)


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


def test_a_design_that_does_not_exist_is_refused(cli_here: Cli) -> None:
    refused(cli_here("run", "digits/long-tail", "--design", "factorail"), "did you mean 'factorial'?")


@pytest.mark.parametrize("option", ["--seeds", "--epochs", "--max-concurrent", "--cpus-per-trial"])
def test_numbers_that_leave_nothing_to_run_are_refused(option: str, cli_here: Cli) -> None:
    refused(cli_here("run", "digits/long-tail", option, "0"), f"{option}: 0", "out of range; allowed: ")


def test_options_of_the_other_kind_of_study_are_refused(cli_here: Cli) -> None:
    refused(cli_here("run", "digits/long-tail", "--samples", "3"), "--samples", "is an ablation")
    refused(cli_here("run", "digits/search", "--design", "ladder"), "--design", "is a search")


def test_a_missing_data_root_is_named_with_the_layout_expected(cli_here: Cli, tmp_path: Path) -> None:
    done = cli_here("run", "folder/ablation", "--data-root", tmp_path / "nowhere")
    refused(done, str(tmp_path / "nowhere"), "layout", "CLASS/*.jpg")
    refused(cli_here("run", "folder/ablation"), "--set dataset.path=DIR or --data-root DIR")


def test_an_empty_class_folder_is_named(cli_here: Cli, tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path / "pets")
    (root / "ferret").mkdir()
    refused(cli_here("run", "folder/ablation", "--set", f"dataset.path={root}"), "ferret")


def test_an_unreadable_picture_is_named(cli_here: Cli, tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path / "pets")
    (root / "cat" / "3.png").write_bytes((root / "cat" / "3.png").read_bytes()[:40])
    (root / "dog" / "text.jpg").write_text("not a picture")
    done = cli_here("run", "folder/ablation", "--set", f"dataset.path={root}")
    assert len(refused(done, "cat/3.png", "dog/text.jpg")) == 2


def test_an_existing_run_directory_is_refused_and_left_alone(cli_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    refused(cli_here("run", "digits/long-tail", "--out", tmp_path), "holds a run already", "resume")
    assert (tmp_path / "study.json").read_text() == "{}"


def test_an_unwritable_output_is_refused(cli_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(cli_here("run", "digits/long-tail", "--out", tmp_path / "file" / "run"), "cannot be written")


def test_commands_on_a_directory_without_a_run_are_refused(cli_here: Cli, tmp_path: Path) -> None:
    for command in (("status",), ("report",), ("resume",), ("rerun",)):
        refused(cli_here(*command, tmp_path, *(["abc"] if command == ("rerun",) else [])), "no run directory")


def test_a_study_file_is_checked_field_by_field(cli_here: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nworkload: digits\nepochs: 2\nfactrs: []\n")
    refused(cli_here("run", file), "mine.yaml", "factrs", "did you mean 'factors'?")
    refused(cli_here("run", tmp_path / "absent.yaml"), "absent.yaml", "cannot be read")


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
