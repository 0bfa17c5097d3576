"""A user's files for tests: networks, losses, an augmentation, data sets, a metric, and such as are wrong."""

from pathlib import Path

MINE = """
import os

import torch
from torch import nn

from helpers import darker


class Net(nn.Module):
    def __init__(self, channels, classes, width: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.fc = nn.Linear(width * 16, classes)

    def forward(self, x):
        return self.fc(nn.functional.adaptive_avg_pool2d(self.conv(x).relu(), 4).flatten(1))


def wide(channels, classes):
    return Net(channels, classes, 16)


def poly(outputs, targets, epsilon: float = 1.0):
    ce = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return ce + epsilon * (1 - torch.exp(-ce))


class Poly(nn.Module):
    def __init__(self, epsilon=1.0):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, outputs, targets):
        return poly(outputs, targets, self.epsilon)


def noise(images, generator):
    return darker(images, torch.rand(len(images), 1, 1, 1, generator=generator))


def share_of_ones(scores, targets):
    return float((scores.argmax(1) == 1).mean())


class Stripes(torch.utils.data.Dataset):
    classes = ["down", "across", "both"]

    def __init__(self, split, length: int = 60):
        self.split, self.length = split, length if split == "train" else 30

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        image = torch.zeros(1, 8, 8)
        if i % 3 != 1:
            image[:, :, (i // 3) % 8] = 1
        if i % 3 != 0:
            image[:, (i // 5) % 8] = 1
        return image, i % 3


class NoModule:
    pass


class Seven(Net):
    def __init__(self, channels):
        super().__init__(channels, 7)


class TwoOutputs(Net):
    def forward(self, x):
        return super().forward(x), x


class Wrong(Net):
    def forward(self, x):
        return self.fc(x.flatten(1))


class InPlace(Net):
    def forward(self, x):
        x.add_(3).mul_(0)
        return super().forward(x)


class Counting(Net):
    steps = 0

    def forward(self, x):
        self.steps += 1
        return super().forward(x)


class Trained(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return self.scale * poly(outputs, targets)


def nothing(channels, classes):
    pass


def mean_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)


def no_gradient(outputs, targets):
    return poly(outputs.detach(), targets)


def one_argument(outputs):
    return outputs


def raising(outputs, targets):
    raise KeyError("x")


def by_the_clock(outputs, targets):
    return poly(outputs, targets) * (1 + int.from_bytes(os.urandom(2), "big"))


def to_float(images, generator):
    return images.float()


class Shuffling(Stripes):
    def __getitem__(self, i):
        return torch.rand(1, 8, 8), i % 3


class Normalised(Stripes):
    def __getitem__(self, i):
        image, target = super().__getitem__(i)
        return (image - 0.5) / 0.5, target


class ManyLabels(Stripes):
    def __getitem__(self, i):
        return super().__getitem__(i)[0], [1, 2]


class Sizes(Stripes):
    def __getitem__(self, i):
        return torch.zeros(1, 8, 8 + i % 2), i % 3
"""
HELPERS = """
def darker(images, share):
    return (images.float() * (0.6 + 0.4 * share)).to(images.dtype)
"""
STUDY = """
name: mine
question: Which of mine?
workload: own
design: one_at_a_time
epochs: 2
seeds: 2
baseline:
  model.name: mine.py:Net
  dataset.name: mine.py:Stripes
  dataset.channels: 1
  loss.name: mine.py:poly
  optimizer.lr: 0.1
factors:
- name: network
  levels: [{name: net}, {name: wide, settings: {model.name: mine.py:wide}}]
- name: epsilon
  levels: [{name: one}, {name: none, settings: {loss.args.epsilon: 0.0}}]
- name: noise
  levels: [{name: "off"}, {name: "on", settings: {augmentation.extra: mine.py:noise}}]
metrics: [{name: mine.py:share_of_ones, maximise: false}]
"""


def write_own_code(folder: Path) -> Path:
    """The user's files and their study in a folder, beside a `datasets.py` and an `analysis` of theirs; the study."""
    (folder / "analysis").mkdir(parents=True)
    (folder / "mine.py").write_text(f"import datasets\nfrom analysis import three\n{MINE}")
    (folder / "helpers.py").write_text(HELPERS)
    (folder / "datasets.py").write_text("raise_nothing = 1\n")
    (folder / "analysis" / "__init__.py").write_text("three = 3\n")
    (folder / "broken.py").write_text("import deep1\n")
    (folder / "deep1.py").write_text("import deep2\n")
    (folder / "deep2.py").write_text("import deep3\n")
    (folder / "deep3.py").write_text("x = 1\ndef f(:\n")
    (folder / "study.yaml").write_text(STUDY)
    return folder / "study.yaml"
