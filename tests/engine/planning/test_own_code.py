"""What `plan` says of code of the user's own: every fault on one batch, with file and line, before anything starts."""

import json
import re
from pathlib import Path

import pytest

from core.user_code.references import use
from tests.conftest import Cli
from tests.own_code import write_own_code

BASE = "mine.py:Net"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_own_code(tmp_path / "code")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.name=mine.py:NoModule", r"NoModule: is a class, but no torch.nn.Module \(.*mine.py, line \d+\)"),
        ("model.name=mine.py:Seven", r"Seven: gives \(B, 7\) where \(B, 3\) is expected, .*mine.py, line \d+\)"),
        ("model.name=mine.py:TwoOutputs", r"TwoOutputs: gives 2 outputs \(a tuple\) where one tensor .*line \d+\)"),
        ("model.name=mine.py:Wrong", r"Wrong: cannot take pictures of 1 × 8 × 8: .*mine.py, line \d+: RuntimeError"),
        ("model.name=mine.py:nothing", r"nothing: gives nothing \(None\), no torch.nn.Module"),
        ("model.name=mine.py:Nett", r"defines no Nett; .*did you mean 'Net'"),
        ("model.name=mime.py:Net", r"no file .*mime.py; .*did you mean 'mine'"),
        ("model.name=broken.py:Net", r"cannot be imported: .*deep3.py, line 2: SyntaxError"),
        ("model.name=nowhere.to_be:found", r"no module nowhere is installed"),
        ("model.name=torchvison:resnet18", r"unknown model 'torchvison:resnet18'; .*did you mean 'torchvision:NAME'"),
        ("model.args.width=wide", r"model.args.width = 'wide': takes a whole number \(.*mine.py, line \d+\)"),
        ("model.args.widht=3", r"model.args.widht = 3: .* has none .*did you mean 'width'"),
        ("loss.name=mine.py:mean_loss", r"one number for the batch where \(8,\) is expected.*reduction='none'"),
        ("loss.name=mine.py:no_gradient", r"the loss has no gradient"),
        ("loss.name=mine.py:one_argument", r"takes 1 arguments by position, and is given 2"),
        ("loss.name=mine.py:raising", r"raising: fails on a batch: .*mine.py, line \d+: KeyError"),
        ("loss.name=mine.py:Trained", r"has parameters of its own \(scale\), which nothing would train"),
        ("augmentation.extra=mine.py:to_float", r"gives torch.float32 \(8, 1, 8, 8\) where torch.uint8"),
        ("augmentation.extra=mine.py:Net", r"is a class; name an instance"),
        ("augmentation.extra=blur", r"augmentation.extra: is no reference; allowed: FILE.py:NAME"),
        ("dataset.name=mine.py:Shuffling", r"item \d+ of (train|val|test) differs when it is read twice"),
        ("dataset.name=mine.py:Normalised", r"item 0 of train: .* -1 to 1.*Normalize"),
        ("dataset.name=mine.py:ManyLabels", r"item 0 of train: its target is a list, where a class is expected"),
        ("dataset.name=mine.py:Sizes", r"item 1 of train: 9 × 8 pixels, others 8 × 8; give dataset.image_size"),
        ("dataset.name=mine.py:NoModule", r"no map-style data set with len\(\)"),
        ("optimizer.name=torch.optim.LBFGS", r"torch.optim:LBFGS: fails on a batch: .*closure"),
        ("schedule.name=torch.optim.lr_scheduler.ReduceLROnPlateau", r"must be given metrics at each step"),
        ("schedule.name=torch.optim.lr_scheduler.ExponentialLR", r"schedule.args.gamma = \(not given\)"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(setting: str, said: str, study: Path, cli_here: Cli) -> None:
    key, _, value = setting.partition("=")
    if ".py:" in value:  # as it stands in the study's folder, and not in the present one
        value = f"{study.parent}/{value}"
    levels = "[{name: plain}, {name: clipped, settings: {training.clip_norm: 1.0}}]"
    study.write_text(f"{study.read_text().partition('factors:')[0]}factors:\n- name: clipping\n  levels: {levels}\n")
    done = cli_here("plan", study, "--set", f"{key}={value}", "--out", study.parent / "run")
    assert done.returncode == 2, done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert any(re.search(said, line) for line in errors), errors
    assert "Traceback" not in done.stderr
    assert not (study.parent / "run").exists()
    assert not list(study.parent.rglob("__pycache__"))


def test_the_line_of_the_study_is_told_too(study: Path, cli_here: Cli) -> None:
    study.write_text(study.read_text().replace("loss.name: mine.py:poly", "loss.name: mine.py:mean_loss"))
    done = cli_here("plan", study)
    assert "study.yaml: line 12: loss.name: mine.py:mean_loss: gives one number" in done.stderr


def test_what_cannot_be_promised_is_said_in_a_line_each(study: Path, cli_here: Cli) -> None:
    name = f"loss.name={study.parent}/mine.py:by_the_clock"
    text = study.read_text().replace("model.name: mine.py:wide", "model.name: mine.py:Counting")
    study.write_text(text.replace("{loss.args.epsilon: 0.0}", "{optimizer.momentum: 0.9}"))
    remarks = json.loads(cli_here("plan", study, "--json", "--set", name).stdout)["remarks"]
    found = "\n".join(remarks)
    assert "code: analysis/__init__.py, datasets.py, helpers.py, mine.py; `run` copies them" in remarks
    assert re.search(r"by_the_clock: two first steps from one seed differ", found)
    assert re.search(r"mine.py:Counting.*: a step changes steps, which no checkpoint holds", found)
    assert re.search(r"augmentation.extra: mine.py:noise takes \S+ ms of each picture", found)


def test_a_pipeline_of_torchvision_changes_one_image_at_a_time(study: Path, cli_here: Cli) -> None:
    more = "\nfrom torchvision.transforms import v2\nflips = v2.Compose([v2.RandomHorizontalFlip(0.5)])\n"
    (study.parent / "mine.py").write_text((study.parent / "mine.py").read_text() + more)
    study.write_text(study.read_text().replace("mine.py:noise", "mine.py:flips"))
    done = cli_here("plan", study, "--json")
    assert "augmentation.extra: mine.py:flips takes" in "\n".join(json.loads(done.stdout)["remarks"])


def test_two_networks_of_one_file_are_two_levels_of_a_factor(study: Path, cli_here: Cli) -> None:
    study.write_text(study.read_text().replace("{name: net}", "{name: net, settings: {model.name: mine.py:Net}}"))
    more = f"network=net,wide,{study.parent}/mine.py:InPlace"
    made = json.loads(cli_here("plan", study, "--json", "--levels", more).stdout)
    added = next(cell for cell in made["cells"] if cell["settings"].get("model.name") == "mine.py:InPlace")
    assert added["levels"]["network"] == "mine.py:InPlace"


def test_one_code_under_two_names_is_refused_as_it_makes_no_difference(study: Path, cli_here: Cli) -> None:
    (study.parent / "copy.py").write_text((study.parent / "mine.py").read_text())
    study.write_text(study.read_text().replace("model.name: mine.py:wide", "model.name: copy.py:Net"))
    done = cli_here("plan", study)
    assert "copy.py:Net: is the same code as mine.py:Net, to the name; leave one out" in done.stderr


def test_keys_are_those_of_the_code_and_not_of_its_place(study: Path, cli_here: Cli, tmp_path: Path) -> None:
    def keys(path: Path) -> list[str]:
        return [trial["trial"] for trial in json.loads(cli_here("plan", path, "--json").stdout)["trials"]]

    before = keys(study)
    elsewhere = write_own_code(tmp_path / "elsewhere")
    (elsewhere.parent / "nets.py").write_text(
        (elsewhere.parent / "mine.py").read_text().replace("import os\n", "import os  # x\n")
    )
    elsewhere.write_text(elsewhere.read_text().replace("mine.py:", "nets.py:"))
    assert keys(elsewhere) == before
    helpers = study.parent / "helpers.py"
    helpers.write_text(helpers.read_text().replace("0.6", "0.5"))
    use({})
    again = write_own_code(tmp_path / "again")
    (again.parent / "helpers.py").write_text(helpers.read_text())
    after = keys(again)
    changed = [old != new for old, new in zip(before, after, strict=True)]
    assert changed == [False, False, False, True] * 2  # the augmentation alone uses it


COMPONENT = '''
from typing import Annotated, Literal
from core.component import Range
from trainables.losses import CrossEntropy
from trainables.registry import LOSSES


class Scaled(CrossEntropy):
    """Cross entropy times a factor."""

    name: Literal["scaled"] = "scaled"
    factor: Annotated[float, Range(0.5, 2.0)] = 1.0
    """what it is multiplied by"""

    def terms(self, logits, targets, weights):
        total, count = super().terms(logits, targets, weights)
        return self.factor * total, count


LOSSES["scaled"] = Scaled
'''


@pytest.mark.parametrize("by", ["study", "option"])
def test_a_file_may_register_components_beside_ours(by: str, study: Path, cli_here: Cli) -> None:
    from trainables.registry import LOSSES

    (study.parent / "mine_too.py").write_text(COMPONENT)
    text = study.read_text().replace("loss.name: mine.py:poly", "loss.name: scaled")
    text = text.replace("loss.args.epsilon: 0.0", "loss.factor: 1.5")
    study.write_text(f"code: [mine_too.py]\n{text}" if by == "study" else text)
    try:
        done = cli_here("plan", study, "--json", *(["--code", study.parent / "mine_too.py"] if by == "option" else []))
        assert "mine_too.py" in "\n".join(json.loads(done.stdout)["remarks"])
    finally:
        LOSSES.pop("scaled", None)


def test_a_registered_name_that_is_taken_is_refused(study: Path, cli_here: Cli) -> None:
    from trainables.losses import CrossEntropy
    from trainables.registry import LOSSES

    (study.parent / "mine_too.py").write_text(COMPONENT.replace("scaled", "ce"))
    done = cli_here("plan", study, "--code", study.parent / "mine_too.py")
    assert (done.returncode, LOSSES["ce"]) == (2, CrossEntropy)
    assert "registers loss 'ce', which is taken; give another name" in done.stderr
