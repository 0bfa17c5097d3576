"""The user's own networks, losses, optimizers, schedules and augmentation: they train as ours do."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from core.user_code.references import UserCodeError, use
from datasets.cache.cache import open_dataset, prepare
from tests.own_code import write_own_code
from trainables.config import ConfigError, TrialConfig, resolve
from trainables.training.extra_augmentation import augmented
from trainables.training.learner import Learner

DIGITS = {"dataset.name": "digits", "dataset.limit_train": 96, "dataset.limit_eval": 40, "training.epochs": 2}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def code(tmp_path: Path) -> Iterator[Path]:
    folder = write_own_code(tmp_path / "code").parent
    use({"": folder})
    yield folder
    use({})


def config(**settings: Any) -> TrialConfig:
    own = {"model.name": "mine.py:Net", "optimizer.lr": 0.1}
    return resolve(DIGITS, own, {key.replace("__", "."): value for key, value in settings.items()})


def learner(chosen: TrialConfig, seed: int = 0) -> Learner:
    return Learner(chosen, open_dataset(chosen.dataset, prepare(chosen.dataset).path), seed, CPU)


def trained(chosen: TrialConfig) -> list[float]:
    """The numbers of two epochs."""
    own = learner(chosen)
    return [value for _ in range(2) for part in (own.train_epoch(), own.evaluate("val")) for value in part.values()]


def test_a_network_of_the_user_s_own_shares_its_layers_weights_with_no_width_but_its_own() -> None:
    plain, wide = learner(config()).network, learner(config(model__args={"width": 16})).network
    assert plain.conv.weight.shape[0] == 8
    assert wide.conv.weight.shape[0] == 16
    again = learner(config()).network
    assert torch.equal(plain.conv.weight, again.conv.weight)
    assert not torch.equal(plain.conv.weight, learner(config(), seed=1).network.conv.weight)


def test_defaults_stand_in_the_configuration_and_a_level_lays_over_one_argument() -> None:
    assert config().model.args == {"width": 8}
    layered = resolve(DIGITS, {"model.name": "mine.py:Net", "model.args": {"width": 4}}, {"model.args.width": 6})
    assert layered.model.args == {"width": 6}
    other = resolve(DIGITS, {"model.name": "mine.py:Net", "model.args.width": 4}, {"model.name": "mine.py:wide"})
    assert other.model.args == {}  # which has no such argument


def test_placed_layers_and_features_work_by_the_names_of_its_modules() -> None:
    own = learner(config(model__bn_after=["conv"], model__dropout_after=["conv"]))
    assert [name for name, _ in own.network.conv.named_children()] == ["layer", "bn", "dropout"]
    assert own.config.model.heads(own.network) == ("fc",)


@pytest.mark.parametrize("loss", ["mine.py:poly", "mine.py:Poly", "torch.nn:CrossEntropyLoss"])
def test_a_loss_gives_what_the_same_loss_by_hand_gives(loss: str) -> None:
    epsilon = {} if loss.endswith("CrossEntropyLoss") else {"loss.args.epsilon": 0.0}
    reduction = {"loss.args.reduction": "none"} if not epsilon else {}
    settings = {"model.name": "mine.py:Net", "optimizer.lr": 0.1, "loss.name": loss, **epsilon, **reduction}
    own, ce = trained(resolve(DIGITS, settings)), trained(config())
    assert own == pytest.approx(ce, rel=1e-5)


@pytest.mark.parametrize("settings", [{"training.mixup": 0.4}, {"loss.weighting": "inverse"}])
def test_class_weights_and_mixup_work_as_with_cross_entropy(settings: dict[str, Any]) -> None:
    tail = {"dataset.imbalance_factor": 5.0, "model.name": "mine.py:Net", "optimizer.lr": 0.1}
    own = trained(resolve(DIGITS, tail, {"loss.name": "mine.py:poly", "loss.args.epsilon": 0.0}, settings))
    assert own == pytest.approx(trained(resolve(DIGITS, tail, {"loss.name": "ce"}, settings)), rel=1e-4)


def test_what_writes_into_what_it_is_given_changes_no_other_number(code: Path) -> None:
    text = (code / "mine.py").read_text()
    more = """

def kept(outputs, targets):
    return poly(outputs, targets)


def spoiling(outputs, targets):
    losses = poly(outputs.clone(), targets.clone())
    with torch.no_grad():
        outputs.zero_()
        targets.zero_()
    return losses


def spoiled(images, generator):
    changed = images + 1
    images.zero_()
    return changed


def added(images, generator):
    return images + 1
"""
    (code / "more.py").write_text(text + more)
    use({"": code, "x": code})
    for settings in (("loss.name", "kept", "spoiling"), ("augmentation.extra", "added", "spoiled")):
        key, *names = settings
        first, second = (trained(config(**{key: f"more.py:{name}"})) for name in names)
        assert first == second
    before = learner(config()).data.splits["train"].images.clone()
    own = learner(config(model__name="mine.py:InPlace"))
    own.train_epoch()
    own.evaluate("train")
    assert torch.equal(own.data.splits["train"].images, before)


def test_an_augmentation_draws_from_its_seed_whatever_generator_it_uses(code: Path) -> None:
    (code / "draws.py").write_text(
        "import random\nimport numpy as np\nimport torch\n"
        "def f(images, generator):\n"
        "    drawn = [torch.rand(1, generator=generator), torch.rand(1), np.random.rand(), random.random()]\n"
        "    return (images + int(1000 * sum(map(float, drawn)))).to(images.dtype)\n"
    )
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    state = torch.get_rng_state()
    first, again, other = (augmented("draws.py:f", images, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trial_with_own_code_that_draws_is_bit_equal_wherever_it_runs(code: Path) -> None:
    (code / "noisy.py").write_text(
        "import numpy as np\nimport torch\nfrom mine import Net\n"
        "class Noisy(Net):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x) + float(np.random.rand()) * torch.rand(1)\n"
    )
    torch.manual_seed(1)
    first = trained(config(model__name="noisy.py:Noisy"))
    torch.manual_seed(2)
    assert trained(config(model__name="noisy.py:Noisy")) == first


SCHEDULES = {
    "ExponentialLR": {"gamma": 0.7},
    "StepLR": {"step_size": 2},
    "CosineAnnealingLR": {"T_max": 6},
    "LinearLR": {"start_factor": 0.25, "total_iters": 4},
    "PolynomialLR": {"total_iters": 6, "power": 2.0},
    "OneCycleLR": {"max_lr": 0.3, "cycle_momentum": False},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_of_torch_gives_its_own_rates(name: str) -> None:
    settings = {"schedule.name": f"torch.optim.lr_scheduler:{name}", "schedule.args": SCHEDULES[name]}
    chosen = resolve(DIGITS, {"model.name": "mine.py:Net", "optimizer.lr": 0.1, "training.epochs": 6}, settings)
    given = [chosen.optimizer.lr_at(epoch, 6, chosen.schedule) for epoch in range(1, 7)]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    more = {"epochs": 6, "steps_per_epoch": 1} if name == "OneCycleLR" else {}
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **SCHEDULES[name], **more)
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch in range(6):
            expected.append(optimizer.param_groups[0]["lr"])
            if epoch < 5:
                scheduler.step()
    assert given == pytest.approx(expected)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RAdam", "NAdam", "Adagrad", "Rprop"])
def test_an_optimizer_of_torch_trains_as_torch_s_own(name: str) -> None:
    chosen = config(optimizer__name=f"torch.optim:{name}", optimizer__lr=0.02)
    own = learner(chosen)
    twin = learner(chosen)
    twin.optimizer = getattr(torch.optim, name)(twin.network.parameters(), lr=0.02)
    for each in (own, twin):
        each.train_epoch()
    for key, value in own.network.state_dict().items():
        assert torch.equal(value, twin.network.state_dict()[key])


def test_weight_decay_is_the_class_s_own_unless_it_is_given() -> None:
    by_default = learner(config(optimizer__name="torch.optim:AdamW")).optimizer
    given = learner(config(optimizer__name="torch.optim:AdamW", optimizer__weight_decay=0.3)).optimizer
    assert (by_default.param_groups[0]["weight_decay"], given.param_groups[0]["weight_decay"]) == (0.01, 0.3)


def test_arguments_have_the_types_of_their_annotations(code: Path) -> None:
    (code / "typed.py").write_text(
        "from typing import Literal\nfrom mine import Net\n"
        "class T(Net):\n"
        "    def __init__(self, channels, classes, sizes: tuple[int, int] = (1, 2), kind: Literal['a', 'b'] = 'a',"
        " rate: float = 1.0, plain=3, **more):\n"
        "        super().__init__(channels, classes)\n"
        "        assert isinstance(sizes, tuple), sizes\n"
    )
    good = config(model__name="typed.py:T", model__args={"sizes": [3, 4], "rate": 2, "other": [1]})
    assert good.model.args == {"kind": "a", "plain": 3, "sizes": [3, 4], "rate": 2, "other": [1]}
    learner(good)
    for wrong in ({"sizes": [1]}, {"kind": "c"}, {"rate": "x"}, {"plain": "x"}):
        with pytest.raises(ConfigError, match=f"model.args.{next(iter(wrong))} = "):
            config(model__name="typed.py:T", model__args=wrong)


def test_what_is_offered_is_given_by_the_name_in_the_signature(code: Path) -> None:
    (code / "told.py").write_text(
        "from torch import nn\n"
        "def net(image_size, outputs, channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size * image_size, outputs))\n"
    )
    assert learner(config(model__name="told.py:net")).network[1].weight.shape == (10, 64)
    with pytest.raises(ConfigError, match=r"model.args.outputs = 3: told.py:net has none"):
        config(model__name="told.py:net", model__args={"outputs": 3})


def test_a_loss_that_is_no_tensor_of_a_loss_for_each_example_is_refused() -> None:
    logits, targets = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    own: Any = config(loss__name="mine.py:mean_loss").loss
    with pytest.raises(UserCodeError, match="reduction='none'"):
        own.terms(logits, targets, None)
    assert float(cross_entropy(logits, targets)) == pytest.approx(
        float(config(loss__name="mine.py:poly", loss__args={"epsilon": 0.0}).loss.terms(logits, targets, None)[0] / 4)
    )
