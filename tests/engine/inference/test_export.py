"""An exported file gives the model's outputs, for every architecture; one that does not is not kept."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import nn

import engine.inference.export
from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from datasets.base import DatasetInfo
from engine.inference.export import DESCRIPTION, Check, compare, export, out_faults, write
from engine.inference.trained_model import Evaluated, Loader, Trained
from search_spaces.factors import Factor
from search_spaces.study import AblationStudy
from tests.conftest import Cli
from tests.engine.sequential import BASELINE, Drive
from tests.records import epoch_rows
from tests.trainables.models.model_cases import CLASSES, POINTS, Case, by_size, case
from tests.trainables.small_trials import small_dataset
from trainables.config import resolve
from trainables.registry import MODELS

# Large or slow ones are written in one form; torch.export is also the first step to ONNX.
ONLY_PT2, ONLY_ONNX = {"resnet34", "vgg19"}, {"resnet50", "googlenet"}

Arrays = list[npt.NDArray[np.float32]]


def made(model: Case, **training: Any) -> Trained:
    """A network as if it had been trained, with weights and statistics that are not those it starts from."""
    points = model.settings.landmarks
    loss = "points" if not model.settings.classifies else "face" if points else "ce"
    settings = {f"training.{name}": value for name, value in training.items()}
    config = resolve(
        {"dataset.name": "faces" if points else "digits", "model.name": model.settings.name, "loss.name": loss},
        settings,
    )
    channels, classes = model.shape[0], ("non-face", "face") if points else tuple("abcde")
    network = model.build(len(classes))
    with torch.no_grad():
        network.train()(model.pictures(6))
    info = DatasetInfo(
        name="made",
        classes=classes,
        image_shape=model.shape,
        counts={split: (1,) * len(classes) for split in ("train", "val", "test")},
        mean=(0.4, 0.5, 0.3)[:channels],
        std=(0.2, 0.3, 0.25)[:channels],
        fingerprint="f00d",
        n_points=POINTS // 2 if points else 0,
    )
    start = {"cell": "baseline", "seed": 0}
    return Trained(RunDirectory(Path()), "abc", start, config, info, 1, {}, "finished", network.eval())


def by_hand(trained: Trained, pictures: npt.NDArray[np.uint8]) -> Arrays:
    """What evaluation gives: normalised in numpy, softmax in numpy."""
    shift, scale = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (trained.info.mean, trained.info.std))
    with torch.no_grad():
        found = trained.network(torch.from_numpy((pictures.astype(np.float32) / 255 - shift) / scale))
    outputs = [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]
    if trained.config.model.classifies:
        weights = np.exp(outputs[0] - outputs[0].max(axis=1, keepdims=True))
        outputs[0] = weights / weights.sum(axis=1, keepdims=True)
    if trained.config.model.landmarks:
        outputs[-1] = outputs[-1].reshape(len(pictures), -1, 2)
    return outputs


def pictures_for(trained: Trained, n: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, *trained.info.input_shape), dtype=np.uint8)


def assert_equal_outputs(ours: Arrays, theirs: Arrays) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("name", by_size(name for name in MODELS if name not in ONLY_PT2))
def test_onnx_gives_the_outputs_of_every_network_for_any_number_of_pictures(name: str, tmp_path: Path) -> None:
    trained, file = made(case(name)), tmp_path / "model.onnx"
    write(trained.module(), trained, file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(trained.module().outputs)
    for n in (1, 5):
        pictures = pictures_for(trained, n)
        assert_equal_outputs(by_hand(trained, pictures), session.run(None, {"images": pictures}))
    told = {item.key: item.value for item in onnx.load(file).metadata_props}[DESCRIPTION]
    assert json.loads(told)["input"]["shape"] == ["batch", *trained.info.input_shape]


@pytest.mark.parametrize("name", by_size(name for name in MODELS if name not in ONLY_ONNX))
@pytest.mark.matrix
def test_torch_export_gives_the_outputs_of_every_network(name: str, tmp_path: Path) -> None:
    trained, file = made(case(name)), tmp_path / "model.pt2"
    write(trained.module(), trained, file)
    extra = {DESCRIPTION: ""}
    program = torch.export.load(file, extra_files=extra).module()
    for n in (1, 5):
        pictures = pictures_for(trained, n)
        found = [output.numpy() for output in program(torch.from_numpy(pictures))]
        assert_equal_outputs(by_hand(trained, pictures), found)
    told = json.loads(extra[DESCRIPTION])
    assert list(told["outputs"]) == list(trained.module().outputs)
    assert told["classes"] == (list(trained.info.classes) if trained.config.model.classifies else [])


def test_colour_is_normalised_by_channel_or_not_at_all_as_the_trial_was(tmp_path: Path) -> None:
    trained = made(case("small_cnn", channels=3))
    pictures = pictures_for(trained, 3)
    (normalised,) = by_hand(trained, pictures)
    plain = made(case("small_cnn", channels=3), normalize=False)
    module = Evaluated(trained.network, plain.config, plain.info)
    with torch.no_grad():
        np.testing.assert_allclose(trained.module()(torch.from_numpy(pictures))[0].numpy(), normalised, atol=1e-6)
        direct = trained.network(torch.from_numpy(pictures).float() / 255).softmax(1)
        torch.testing.assert_close(module(torch.from_numpy(pictures))[0], direct)
        assert (direct.numpy() - normalised).max() > 1e-3


def test_a_bf16_trial_is_exported_in_float32(tmp_path: Path) -> None:
    trained, file = made(case("small_cnn"), precision="bf16"), tmp_path / "model.pt2"
    write(trained.module(exact=True), trained, file)
    pictures = pictures_for(trained, 4)
    found = torch.export.load(file).module()(torch.from_numpy(pictures))
    np.testing.assert_allclose(found[0].detach().numpy(), by_hand(trained, pictures)[0], atol=1e-6)


@dataclass
class Shifted:
    """Stands for an exporter at fault: it adds to every output."""

    by: float

    def __call__(self, module: Evaluated, trained: Trained, file: Path) -> None:
        class Off(nn.Module):
            def __init__(self, inner: Evaluated, by: float) -> None:
                super().__init__()
                self.inner, self.by, self.outputs = inner, by, inner.outputs

            def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return tuple(output + self.by for output in self.inner(images))

        write(Off(module, self.by), trained, file)  # type: ignore[arg-type]


def test_the_check_measures_the_difference_and_the_classes_that_change(tmp_path: Path) -> None:
    trained, file = made(case("small_cnn")), tmp_path / "model.pt2"
    other = made(case("small_cnn"))
    write(other.module(), other, file)
    pictures = pictures_for(trained, 7)
    found = compare(trained.module(), file, torch.from_numpy(pictures))
    ours, theirs = by_hand(trained, pictures)[0], by_hand(other, pictures)[0]
    assert found.pictures == 7
    assert found.absolute == pytest.approx(np.abs(ours - theirs).max(), rel=1e-4)
    assert found.relative == pytest.approx(np.abs(ours - theirs).max() / ours.max(), rel=1e-4)
    assert found.other_classes == (ours.argmax(1) != theirs.argmax(1)).sum()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_equal(broken: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, file = made(case("small_cnn")), tmp_path / "model.pt2"
    write(trained.module(), trained, file)
    pictures = torch.from_numpy(pictures_for(trained, 3))
    module = trained.module()
    outputs = type(module).forward
    monkeypatch.setattr(type(module), "forward", lambda self, images: tuple(o * broken for o in outputs(self, images)))
    found = compare(module, file, pictures)
    assert found.absolute == found.relative == float("inf")
    assert not found.passed


@pytest.mark.parametrize(("relative", "changed", "passed"), [(9e-5, 0, True), (1.1e-4, 0, False), (0.0, 1, False)])
def test_a_file_passes_within_a_ten_thousandth_and_with_every_class_the_same(
    relative: float, changed: int, passed: bool
) -> None:
    assert Check(8, 1.0, relative, changed).passed is passed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished ablation of two cells and two seeds, to be read only."""
    import engine.execution.launch

    drive = Drive()
    momentum = Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}})
    study = AblationStudy(
        name="a",
        question="Does momentum help?",
        workload="digits",
        design="one_at_a_time",
        epochs=2,
        seeds=2,
        factors=(momentum,),
        baseline=BASELINE,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.execution.launch, "carry_out", drive.carry_out)
        return drive(study, tmp_path_factory.mktemp("export") / "run")


def first_trial(run: Path) -> str:
    return sorted(file.name for file in (run / "checkpoints").iterdir())[0]


@pytest.mark.matrix
def test_a_file_with_other_outputs_is_refused_and_not_left(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.inference.export, "write", Shifted(1e-3))
    with pytest.raises(
        PlanError, match=r"its outputs are not the model's: on 64 test pictures they differ by up to 0\.00"
    ):
        export(Loader(run), first_trial(run), tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(engine.inference.export, "write", Shifted(1e-7))
    export(Loader(run), first_trial(run), tmp_path / "model.pt2")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.matrix
def test_the_command_writes_the_file_its_check_and_its_card(run: Path, tmp_path: Path, cli_here: Cli) -> None:
    trial, out = first_trial(run), tmp_path / "model.onnx"
    done = cli_here("export", run, "--trial", trial, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "equal to the model on 64 test pictures within " in done.stdout
    recorded = pd.read_parquet(run / "predictions" / f"{trial}.parquet")
    images = small_dataset().splits["test"].images
    (scores,) = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"]).run(None, {"images": images})
    np.testing.assert_allclose(scores, recorded[[f"score_{i}" for i in range(10)]], atol=1e-5)
    card = out.with_name(f"{out.name}.md").read_text(encoding="utf-8")
    assert_card_s_figures(card, run, trial)
    for wanted in (
        "Does momentum help?",
        "optimizer.momentum",
        f"rerun {run} {trial}",
        "onnxruntime",
        "Not recorded",
    ):
        assert wanted in card
    assert "inspect." not in card


def assert_card_s_figures(card: str, run: Path, trial: str) -> None:
    """Held against the log itself."""
    rows, study = epoch_rows(run), json.loads((run / "study.json").read_text())
    places = {item["trial"]: (item["cell"], item["seed"]) for item in study["trials"]}
    best = {
        key: min((row for (own, _), row in rows.items() if own == key), key=lambda row: row["val_reference"])
        for key in places
    }
    spread = [best[key]["test_accuracy"] for key, (cell, _) in places.items() if cell == places[trial][0]]
    row = best[trial]
    figures = [row["val_accuracy"], row["test_accuracy"], np.mean(spread), np.std(spread, ddof=1)]
    line = "| accuracy | " + " | ".join(f"{value:.4g}" for value in figures) + " | 2 |"
    assert line in card
    assert f"at epoch {row['epoch']}, which was chosen by the best `val_reference`" in card
    assert study["data"]["fingerprint"] in card


def test_what_cannot_be_written_is_refused_before_anything_is_loaded(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli_here: Cli
) -> None:
    done = cli_here("export", run, "--out", tmp_path / "model.onx")
    assert done.returncode == 2
    assert "allowed: .pt2, .onnx; did you mean '.onnx'?" in done.stderr
    known = engine.inference.export.find_spec
    monkeypatch.setattr(
        engine.inference.export, "find_spec", lambda name: None if name == "onnxscript" else known(name)
    )
    faults = out_faults(tmp_path / "absent" / "model.onnx")
    assert len(faults) == 2
    assert "there is no folder" in faults[0]
    assert "ONNX needs onnxscript, which the extra `export` installs" in faults[1]
    assert out_faults(tmp_path / "model.pt2") == []


def test_a_run_without_a_finished_trial_has_nothing_to_export(run: Path, tmp_path: Path, cli_here: Cli) -> None:
    shutil.copytree(run, tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"event": "end"' not in line))
    done = cli_here("export", tmp_path / "run", "--out", tmp_path / "model.pt2")
    assert done.returncode == 2
    assert "no trial has finished" in done.stderr


def test_every_network_is_written_in_one_form_at_least() -> None:
    assert not ONLY_PT2 & ONLY_ONNX
    assert set(MODELS) > ONLY_PT2 | ONLY_ONNX
    assert len(made(case("small_cnn")).info.classes) == CLASSES
