"""The textbook's pipeline: PIL and torchvision open, decode and transform each file anew in every epoch.

As in the tutorials of PyTorch and torchvision: ImageFolder, Compose, DataLoader, a loop over batches.
`num_workers=0`, as a trial has one core: loader processes would use those of other trials.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from trainables.models.networks.chain import Chain

Statistics = tuple[Sequence[float], Sequence[float]]
FLIP = transforms.RandomHorizontalFlip()


def rotation(degrees: float) -> nn.Module:
    """Random rotation, bilinear as ours is; torchvision's default is the nearest pixel."""
    return transforms.RandomRotation(degrees, interpolation=transforms.InterpolationMode.BILINEAR)


def loader(
    folder: Path, size: int, statistics: Statistics, batch_size: int, augment: Sequence[Any] = (), grey: bool = False
) -> DataLoader:
    """A loader of the class folders in `folder`, shuffled if that is called train; `statistics` are mean and std."""
    steps = [transforms.Grayscale()] if grey else []
    transform = transforms.Compose(
        [*steps, transforms.Resize((size, size)), *augment, transforms.ToTensor(), transforms.Normalize(*statistics)]
    )
    return DataLoader(ImageFolder(str(folder), transform), batch_size, shuffle=folder.name == "train", num_workers=0)


def plain(network: nn.Module) -> nn.Module:
    """Replaces our optimised layers in a network by torch's own, which give the same results."""
    for module in network.modules():
        if type(module) is Chain:
            module.__class__ = nn.Sequential
    return network


def epoch(network: nn.Module, batches: DataLoader, optimizer: Optimizer | None = None) -> tuple[float, float]:
    """One epoch of a classifier; without an optimizer it evaluates. (mean loss, accuracy)"""
    network.train(optimizer is not None)
    total, correct = 0.0, 0
    for images, labels in batches:
        with torch.set_grad_enabled(optimizer is not None):
            logits = network(images)
            loss = cross_entropy(logits, labels)
        if optimizer is not None:
            step(loss, optimizer)
        total += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
    return total / len(batches.dataset), correct / len(batches.dataset)  # type: ignore[arg-type]


def step(loss: Tensor, optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def cnn(
    side: int, classes: int, channels: Sequence[int], hidden: int, batch_norm: bool, dropout: float, colours: int = 3
) -> nn.Module:
    """Blocks of convolution, batch norm if asked for, ReLU, max pool; then one hidden layer with dropout."""
    layers: list[nn.Module] = []
    fan_in = colours
    for width in channels:
        norm = [nn.BatchNorm2d(width)] if batch_norm else []
        layers += [nn.Conv2d(fan_in, width, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2)]
        fan_in, side = width, side // 2
    layers += [nn.Flatten(), nn.Linear(fan_in * side * side, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


class Crops(Dataset):
    """Faces and non-faces cut from their photos: (image, label, landmarks in pixels of the crop, NaN without)."""

    def __init__(self, rows: Sequence[Any], files: Any, landmarks: int, size: int, statistics: Statistics) -> None:
        self.rows, self.files, self.landmarks, self.size = rows, files, landmarks, size
        self.transform = transforms.Compose(
            [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(*statistics)]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, int, Tensor]:
        row = self.rows[i]
        left, top, right, bottom = row.box
        with Image.open(self.files[row.file]) as photo:
            crop = photo.convert("L").crop((left, top, right, bottom))
        points = torch.full((self.landmarks, 2), torch.nan)
        if row.points is not None:
            points = torch.tensor(row.points) * torch.tensor([self.size / (right - left), self.size / (bottom - top)])
        return self.transform(crop), row.label, points


def face_epoch(network: nn.Module, batches: DataLoader, optimizer: Optimizer | None) -> dict[str, float]:
    """One epoch of 2 · cross entropy + smooth L1 of the faces' landmarks; without an optimizer it evaluates."""
    network.train(optimizer is not None)
    total, correct, error, faces = 0.0, 0, 0.0, 0
    for images, labels, points in batches:
        with torch.set_grad_enabled(optimizer is not None):
            logits, predicted = network(images)
            face = labels == 1
            predicted = predicted.reshape(points.shape)[face]
            loss = 2 * cross_entropy(logits, labels)
            if face.any():
                loss = loss + smooth_l1_loss(predicted, points[face])
        if optimizer is not None:
            step(loss, optimizer)
        total += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        error += (predicted.detach() - points[face]).norm(dim=2).mean(1).sum().item()
        faces += int(face.sum())
    n = len(batches.dataset)  # type: ignore[arg-type]
    return {"loss": total / n, "accuracy": correct / n, "error_px": error / max(1, faces)}
