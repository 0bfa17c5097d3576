"""Users' files as they are: what is copied and counted of them, what their networks and data sets may be."""

import json
import sys
from pathlib import Path

import pytest

from core.user_code.references import use
from tests.conftest import Cli
from tests.own_code import MINE

STUDY = """
name: files
workload: own
design: one_at_a_time
epochs: 2
baseline: {model.name: mine.py:Net, dataset.name: digits, optimizer.lr: 0.1}
factors:
- name: clipping
  levels: [{name: plain}, {name: clipped, settings: {training.clip_norm: 1.0}}]
"""
HEAD = MINE.partition("class Net")[0].replace("from helpers import darker\n", "")
NET = "class Net" + MINE.partition("class Net")[2].partition("def wide")[0]
FACTOR = NET.replace("return self.fc", "return factor() * self.fc")


def written(folder: Path, code: str, **files: str) -> Path:
    """The study of a new folder with `mine.py` and further files, a dot in whose names is written `__`."""
    for name, text in {"mine__py": HEAD + code, "study__yaml": STUDY, **files}.items():
        file = folder / name.replace("__", ".").replace("_in_", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "study.yaml"


def planned(study: Path, cli_here: Cli, *settings: str) -> dict[str, object]:
    use({})
    done = cli_here("plan", study, "--json", *(part for each in settings for part in ("--set", each)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def keys(study: Path, cli_here: Cli, *settings: str) -> list[str]:
    return [trial["trial"] for trial in planned(study, cli_here, *settings)["trials"]]  # type: ignore[attr-defined]


def refusal(study: Path, cli_here: Cli, *settings: str) -> str:
    use({})
    done = cli_here("plan", study, *(part for each in settings for part in ("--set", each)))
    assert done.returncode == 2, done.stdout
    return done.stderr


BESIDE = "import pathlib\ndef factor():\n    return float((pathlib.Path(__file__).parent / 'factor.txt').read_text())\n"
CONFIG = "from dataclasses import dataclass\n@dataclass\nclass Config:\n    width: int\n    times: int = "


@pytest.mark.parametrize(
    ("code", "files", "changed"),
    [
        ("import importlib\nfactor = importlib.import_module('sib' + 'ling').factor\n", "sibling__py", "return {}"),
        ("factor = __import__('sibling').factor\n", "sibling__py", "return {}"),
        (f"{BESIDE}TIMES = factor()\n", "factor__txt", "{}"),
    ],
)
def test_what_is_loaded_by_made_names_or_read_counts_and_is_copied(
    code: str, files: str, changed: str, tmp_path: Path, cli_here: Cli
) -> None:
    texts = [("def factor(): " if "return" in changed else "") + changed.format(number) for number in (1, 2)]
    studies = [written(tmp_path / str(n), code + FACTOR, **{files: text}) for n, text in enumerate([*texts, texts[0]])]
    one, other, same = (keys(study, cli_here) for study in studies)
    assert one == same
    assert not {*one} & {*other}
    name = files.replace("__", ".")
    assert name in next(each for each in planned(studies[0], cli_here)["remarks"] if each.startswith("code: "))  # type: ignore[attr-defined]


def test_what_only_an_annotation_names_counts(tmp_path: Path, cli_here: Cli) -> None:
    net = NET.replace("width: int = 8", "config: Config").replace(
        "super()", "width = config.width * config.times; super()"
    )
    studies = [written(tmp_path / str(n), f"{CONFIG}{n}\n{net}") for n in (1, 2)]
    one, other = (keys(study, cli_here, "model.args.config={width: 4}") for study in studies)
    assert not {*one} & {*other}


def test_postponed_annotations_mean_what_the_file_has(tmp_path: Path, cli_here: Cli) -> None:
    net = NET.replace("width: int = 8", "config: Config").replace("super()", "width = config.width; super()")
    for folder in ("a", "b"):  # of two modules called alike, one is in sys.modules
        study = written(tmp_path / folder, "")
        (study.parent / "mine.py").write_text(f"from __future__ import annotations\n{HEAD}{CONFIG}1\n{net}")
        planned(study, cli_here, "model.args.config={width: 4}")


def test_code_from_other_folders_is_told_and_counts(
    tmp_path: Path, cli_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "elsewhere_code.py").write_text("def factor(): return 1\n")
    study = written(tmp_path / "study", f"from elsewhere_code import factor\n{FACTOR}")
    (remark,) = (each for each in planned(study, cli_here)["remarks"] if "from other folders" in each)  # type: ignore[attr-defined]
    assert str(tmp_path / "elsewhere_code.py") in remark


def test_a_network_found_by_pythonpath_is_counted_and_told(
    tmp_path: Path, cli_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        study = written(folder / "study", "")
        (folder / "elsewhere_net.py").write_text(HEAD + NET.replace("width: int = 8", f"width: int = {number}"))
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            patch.delitem(sys.modules, "elsewhere_net", raising=False)
            use({"": folder})  # so that what was loaded by this name is loaded anew
            made.append(planned(study, cli_here, "model.name=elsewhere_net:Net"))
        assert str(folder / "elsewhere_net.py") in "\n".join(made[-1]["remarks"])  # type: ignore[arg-type]
    one, other = ([trial["trial"] for trial in each["trials"]] for each in made)  # type: ignore[attr-defined]
    assert not {*one} & {*other}


def test_an_import_from_above_names_its_remedy(tmp_path: Path, cli_here: Cli) -> None:
    study = written(
        tmp_path, "", nets_in_mine__py=f"from nets.parts import x\n{HEAD}{NET}", nets_in_parts__py="x = 1\n"
    )
    setting = f"model.name={tmp_path}/nets/mine.py:Net"
    assert "nets stands in" in refusal(study, cli_here, setting)
    (tmp_path / "nets" / "__init__.py").touch()
    use({})
    assert cli_here("plan", study, "--set", setting).returncode == 0


@pytest.mark.parametrize("code", ["try:\n    import bad\nexcept SyntaxError: pass\n", "if 0:\n    import bad\n"])
def test_a_sibling_that_is_no_python_may_be_one_that_is_not_used(code: str, tmp_path: Path, cli_here: Cli) -> None:
    planned(written(tmp_path, code + NET, bad__py="print 'x'\n"), cli_here)


def test_threads_that_import_as_a_file_is_imported_do_not_wait_for_ever(tmp_path: Path, cli_here: Cli) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as pool:\n"
        "    found = list(pool.map(lambda n: __import__('sibling').double(n), range(3)))\nassert found == [0, 2, 4]\n"
    )
    planned(written(tmp_path, code + NET, sibling__py="def double(n): return 2 * n\n"), cli_here)


VIEW = ("nn.functional.adaptive_avg_pool2d(self.conv(x).relu(), 4).flatten(1)", "self.conv(x).view(len(x), -1)")


@pytest.mark.parametrize(
    "changes",
    [
        (VIEW, ("width * 16", "width * 64")),
        (("self.conv(x)", "(print('no JSON') or self.conv(x))"),),
        (("    def forward", "    def __len__(self):\n        return 0\n\n    def forward"),),
    ],
    ids=["view", "prints", "empty"],
)
def test_a_network_may_use_views_print_and_be_empty(
    changes: tuple[tuple[str, str], ...], tmp_path: Path, cli_here: Cli
) -> None:
    code = NET
    for old, new in changes:
        assert old in code
        code = code.replace(old, new)
    planned(written(tmp_path, code), cli_here)


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        (
            "def both(self, x): y = Net.forward(self, x); return (y, x) if self.training else y\n"
            "class Aux(Net):\n    forward = both\n",
            "Aux",
            "gives 2 outputs (a tuple) in training mode",
        ),
        ("made = Net(1, 10)\n", "made", "is a network made already"),
        ("_net = Net(1, 10)\ndef same(): return _net\n", "same", "gives a network that it gave before"),
        ("def scripted(): return torch.jit.script(Net(1, 10))\n", "scripted", "ScriptModule"),
        ("class Bare(nn.Module):\n    def forward(self, x): return x[:, 0, 0]\n", "Bare", "without parameters"),
        (
            "import argparse\ndef parsed(): argparse.ArgumentParser().parse_args(['--x'])\n",
            "parsed",
            "it ends the program",
        ),
        ("def other(in_channels): pass\n", "other", "given by their names: channels, image_size, classes, outputs"),
    ],
)
def test_what_is_no_network_to_train_is_told(code: str, name: str, said: str, tmp_path: Path, cli_here: Cli) -> None:
    study = written(tmp_path, NET + code)
    assert said in refusal(study, cli_here, f"model.name={tmp_path}/mine.py:{name}")


def test_a_loss_that_is_not_finite_is_told(tmp_path: Path, cli_here: Cli) -> None:
    study = written(tmp_path, NET.replace("return self.fc", "return float('nan') * self.fc"))
    assert "the loss of the first batch is nan" in "\n".join(planned(study, cli_here)["remarks"])  # type: ignore[arg-type]


DATA = """
import numpy as np
from PIL import Image
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, i):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[i % 8], pixels[:, i // 8] = 200, i
        return {}, {}
"""


@pytest.mark.parametrize(
    ("image", "target", "said"),
    [
        ("pixels", "i % 3 + 1", "numbered from 1 to 3, without 0; number them from 0"),
        ("pixels", "10**9 if i == 3 else i % 3", "without 3, 4, 5 and 999999994 more"),
        ("pixels", "0", "only the class 0; at least two classes are needed, as (image, class) items of each"),
        ("pixels[:0]", "i % 3", "without a pixel"),
        ("Image.fromarray(pixels).convert('F')", "i % 3", "float32 values from 0 to 200"),
        ("torch.tensor(pixels).to_sparse()", "i % 3", "item 0: can't convert Sparse"),
        ("exit(3)", "i % 3", "it ends the program (sys.exit(3))"),
    ],
)
def test_what_is_no_data_set_is_told_with_its_item(
    image: str, target: str, said: str, tmp_path: Path, cli_here: Cli
) -> None:
    study = written(tmp_path, NET + DATA.format(image, target))
    assert said in refusal(study, cli_here, f"dataset.name={tmp_path}/mine.py:Data", "dataset.channels=1")


@pytest.mark.parametrize(
    "image", ["Image.fromarray(pixels.astype(np.uint16) * 256)", "torch.tensor(pixels)[None].bfloat16() / 255"]
)
def test_deep_pictures_and_short_floats_keep_their_values(image: str, tmp_path: Path) -> None:
    from datasets.sources.own_dataset import OwnDataset

    study = written(tmp_path, DATA.format(image, "i % 3"))
    use({})
    own = OwnDataset.model_validate_json(json.dumps({"name": f"{study.parent}/mine.py:Data", "channels": 1}))
    pixels, _ = own.item(own.parts()[""], 1, "item 1")
    assert pixels.shape == (1, 8, 8)
    assert abs(int(pixels[0, 1, 5]) - 200) <= 1


@pytest.mark.parametrize(
    ("code", "setting", "said"),
    [
        ("class S(torch.optim.SGD):\n    def step(self, f): 1\n", "optimizer.name=mine.py:S", "optimizer.name: "),
        ("def s(optimizer): return len\n", "schedule.name=mine.py:s", "no scheduler with a step()"),
    ],
)
def test_a_fault_of_optimizer_and_schedule_is_theirs(
    code: str, setting: str, said: str, tmp_path: Path, cli_here: Cli
) -> None:
    study = written(tmp_path, NET + code)
    assert said in refusal(study, cli_here, setting.replace("mine.py", f"{tmp_path}/mine.py"))
