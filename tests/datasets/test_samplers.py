"""Sampling orders against torch's own samplers."""

import torch
from torch.utils.data import WeightedRandomSampler

from datasets.samplers import Uniform, Weighted


def test_uniform_visits_every_example_once() -> None:
    order = Uniform().order(torch.zeros(100), torch.Generator().manual_seed(0))
    assert order.sort().values.equal(torch.arange(100))
    assert not order.equal(torch.arange(100))


def test_weighted_draws_what_torch_s_weighted_random_sampler_draws() -> None:
    labels = torch.tensor([0] * 50 + [1] * 5 + [3] * 2)  # a class without examples is no obstacle
    weights = [1 / int((labels == label).sum()) for label in labels]
    theirs = list(WeightedRandomSampler(weights, len(labels), generator=torch.Generator().manual_seed(3)))
    assert Weighted().order(labels, torch.Generator().manual_seed(3)).tolist() == theirs


def test_weighted_makes_all_classes_equally_frequent() -> None:
    labels = torch.tensor([0] * 9_000 + [1] * 900 + [2] * 100)
    drawn = labels[Weighted().order(labels, torch.Generator().manual_seed(0))]
    share = torch.bincount(drawn) / len(drawn)
    assert (share - 1 / 3).abs().max() < 0.02
