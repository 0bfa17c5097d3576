"""A trial's key names its numbers: what changes them changes it, and nothing else does."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.component import Component
from datasets.base import DatasetInfo
from tests.conftest import ROOT
from trainables.config import UNCOUNTED, resolve
from trainables.metrics.setting import SplitMetric
from trainables.trial_key import code_version, configuration_key, trial_key

DIGITS = {"dataset.name": "digits", "model.name": "small_cnn"}
FOLDER = {"dataset.name": "image_folder", "model.name": "small_cnn"}
DATA = DatasetInfo("digits", ("a", "b"), (1, 8, 8), {}, (0.5,), (0.2,), "f00d")
KEY = """
from datasets.base import DatasetInfo
from trainables.config import resolve
from trainables.trial_key import code_version, configuration_key, trial_key
config, data = resolve({!r}), DatasetInfo("digits", ("a", "b"), (1, 8, 8), {{}}, (0.5,), (0.2,), "f00d")
print(trial_key(config, 3, data), configuration_key(config), code_version(config))
"""


def elsewhere(root: Path, settings: dict[str, Any], hash_seed: int = 1) -> list[str]:
    """trial key, configuration key and code version as another process computes them from the code in `root`."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": ""}
    code = [sys.executable, "-c", KEY.format(settings)]
    return subprocess.check_output(code, cwd=root, env=environment, text=True).split()


@pytest.mark.parametrize("settings", [DIGITS, {**FOLDER, "dataset.path": "pets", "optimizer.name": "adam"}], ids=str)
@pytest.mark.matrix
def test_another_process_computes_the_same_keys(settings: dict[str, Any]) -> None:
    config = resolve(settings)
    here = [trial_key(config, 3, DATA), configuration_key(config), code_version(config)]
    assert elsewhere(ROOT, settings, 1) == elsewhere(ROOT, settings, 2) == here
    assert [len(key) for key in here] == [12, 8, 12]


def test_seed_and_data_are_part_of_it() -> None:
    config = resolve(DIGITS)
    others = [replace(DATA, fingerprint="beef"), replace(DATA, crop=6), replace(DATA, flip_pairs=((0, 1),))]
    keys = {trial_key(config, seed, data) for seed in (0, 1) for data in (DATA, *others)}
    assert len(keys) == 8


def other(value: Any) -> Any:
    """Another value, whatever it is; of a metric another metric."""
    if value == "val_reference":
        return "val_loss"
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"not {value}"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the changed values need not be allowed ones
@pytest.mark.parametrize("settings", [DIGITS, {**FOLDER, "dataset.path": "pets"}], ids=str)
def test_every_setting_is_part_of_it_but_where_the_data_lies_and_what_changes_nothing(
    settings: dict[str, Any],
) -> None:
    config = resolve(settings)
    key, unseen = trial_key(config, 0, DATA), set()
    for kind, group in config:
        changes = [({kind: (SplitMetric(name="ece"),) if kind == "metrics" else other(group)}, kind)]
        if isinstance(group, Component):
            changes = [({kind: group.model_copy(update={n: other(v)})}, f"{kind}.{n}") for n, v in group]
        for change, setting in changes:
            if trial_key(config.model_copy(update=change), 0, DATA) == key:
                unseen.add(setting)
    drawn = {f"inspect.{name}" for name in type(config.inspect).model_fields}
    by_content = {*config.dataset.place_fields, *config.dataset.unrecorded}
    assert unseen == {f"dataset.{name}" for name in by_content} | drawn | {"training.evaluate_test"}
    seldom = resolve(settings, {"training.evaluate_test": "selected"})
    assert seldom != config
    assert configuration_key(seldom) == configuration_key(config)


def test_cells_and_trials_that_began_before_a_setting_of_the_data_keep_their_keys() -> None:
    old, new = resolve(FOLDER, {"dataset.split_rule": "by_name"}), resolve(FOLDER)
    tree = old.model_dump(mode="json", exclude=UNCOUNTED)
    for kind, part in old:
        for name in getattr(part, "unrecorded", ()):
            del tree[kind][name]
    recorded = hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=6).hexdigest()[:8]
    assert configuration_key(old) == recorded != configuration_key(new)
    assert trial_key(old, 0, DATA) == trial_key(new, 0, DATA)  # the fingerprint tells them apart
    assert trial_key(old, 0, DATA) != trial_key(new, 0, replace(DATA, fingerprint="beef"))


def test_metrics_count_where_there_are_some_and_change_no_key_where_there_are_none() -> None:
    config = resolve(DIGITS)
    assert trial_key(config, 0, DATA) == trial_key(resolve(DIGITS, {"metrics": []}), 0, DATA)
    asked = [resolve(DIGITS, {"metrics": names}) for names in (["ece"], ["ece", "mcc"], ["mcc", "ece"])]
    assert len({configuration_key(each) for each in (config, *asked)}) == 3
    assert len({code_version(each) for each in (config, *asked)}) == 2  # what computes them counts where it is asked


def test_a_cell_s_key_tells_configurations_apart_and_knows_no_seed() -> None:
    settings = [DIGITS, {**DIGITS, "optimizer.lr": 0.02}, {**DIGITS, "optimizer.lr": 0.01}]
    plain, faster, the_default = (configuration_key(resolve(each)) for each in settings)
    assert plain == the_default != faster


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in ("core", "datasets", "trainables"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def version(root: Path, settings: dict[str, Any] = DIGITS) -> str:
    return elsewhere(root, settings)[2]


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_copy_of_the_code_elsewhere_has_the_same_version(copied: Path) -> None:
    assert version(copied) == code_version(resolve(DIGITS))


@pytest.mark.matrix
def test_comments_docstrings_and_layout_are_not_code(copied: Path) -> None:
    before = version(copied)
    losses = copied / "trainables" / "losses.py"
    edit(losses, '"""', '"""In other words: ')
    edit(losses, "    name: str\n", '    name: str\n    """what it is called"""\n')
    edit(losses, "from abc import", "# a remark\n\n\nfrom abc import")
    edit(
        copied / "trainables" / "training" / "learner.py",
        "        self.epoch += 1\n",
        "        self.epoch  +=  1  # the next\n",
    )
    assert version(copied) == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("trainables/losses.py", "if n else 0.0", "if n else 0.5"),
        ("trainables/training/learner.py", "self.epoch += 1", "self.epoch += 2"),
        ("trainables/models/small_cnn.py", "3, padding=1", "5, padding=2"),
        ("trainables/models/base.py", "= 0.5", "= 0.4"),
        ("core/seeds.py", ">> 1", ">> 2"),
        ("datasets/cache/subset.py", "0 < limit <", "1 < limit <"),
        ("datasets/cache/cache.py", "np.arange(256) / 255", "np.arange(256) / 256"),
        ("trainables/tasks/classification.py", '"reference": ce', '"reference": 2 * ce'),
        ("trainables/models/networks/chain.py", "second, first", "first, second"),
        ("trainables/optimizers.py", "fused = True", "fused = False"),
        ("trainables/training/batches.py", "div_(255)", "div_(256)"),
    ],
)
def test_a_change_of_code_that_a_trial_uses_changes_its_version(copied: Path, module: str, old: str, new: str) -> None:
    edit(copied / module, old, new)
    assert version(copied) != code_version(resolve(DIGITS))


@pytest.mark.matrix
def test_a_change_of_code_that_a_trial_does_not_use_leaves_its_version(copied: Path) -> None:
    resnet, before = {**DIGITS, "model.name": "resnet18"}, version(copied)
    edit(copied / "trainables/models/resnet.py", "64, 3, stride=1", "32, 3, stride=1")
    edit(copied / "trainables/trial/runner.py", "self.queue = deque(specs)", "self.queue = deque(specs[::-1])")
    edit(copied / "trainables/registry.py", "LOSSES", "MORE: dict = {}\n\nLOSSES")
    assert version(copied) == before
    assert version(copied, resnet) != code_version(resolve(resnet))


def test_what_decodes_a_data_set_is_covered_by_the_data_s_fingerprint(copied: Path) -> None:
    before = version(copied)
    edit(copied / "datasets/sources/digits.py", "255 / 16", "254 / 16")
    edit(copied / "datasets/splits.py", "round(test", "int(test")
    assert version(copied) == before


def test_a_module_may_be_moved_and_a_helper_renamed(copied: Path) -> None:
    before = version(copied)
    (copied / "trainables" / "depths").mkdir()
    (copied / "trainables" / "depths" / "__init__.py").touch()
    (copied / "trainables" / "training" / "learner.py").rename(copied / "trainables" / "depths" / "student.py")
    for file in (copied / "trainables").rglob("*.py"):
        text = file.read_text(encoding="utf-8").replace("trainables.training.learner", "trainables.depths.student")
        file.write_text(text.replace("_finite(", "_number_or_none(").replace("_enter_phase", "_start_phase"), "utf-8")
    assert version(copied) == before


def test_a_component_s_module_may_be_moved_behind_all_others(copied: Path) -> None:
    before = version(copied)
    (copied / "trainables" / "losses.py").rename(copied / "trainables" / "zeta.py")
    for file in copied.rglob("*.py"):
        text = file.read_text(encoding="utf-8").replace("trainables.losses", "trainables.zeta")
        file.write_text(text, encoding="utf-8")
    assert version(copied) == before


def test_a_plan_s_versions_are_there_at_once() -> None:
    code = "import sys, time; from trainables.config import resolve; from trainables.trial_key import code_version; "
    code += f"config = resolve({DIGITS!r}); began = time.process_time(); code_version(config); "
    code += "print(time.process_time() - began)"
    took = [float(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)) for _ in range(3)]
    assert min(took) < 0.6  # 0.2 to 0.3 on a quiet machine
