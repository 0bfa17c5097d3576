"""The edges of a space: exact however many conditions a parameter has, and for any two parameters together."""

import itertools

from search_spaces.space_edges import MOST, MOST_POINTS, edge_points, never_active
from search_spaces.spaces import Choice, Number

DECIDING = {
    "optimizer.name": ("sgd", "adam", "adamw", "rmsprop"),
    "schedule.name": ("constant", "step", "multistep", "cosine"),
    "loss.name": ("ce", "focal", "class_balanced"),
    "training.batch_size": (16, 32, 64, 128, 256),
    "augmentation.flip": (True, False),
}
CHOICES = tuple(Choice(key=key, choices=values) for key, values in DECIDING.items())
LAST = {key: (values[-1],) for key, values in DECIDING.items()}


def test_one_combination_of_very_many_conditions_is_found() -> None:
    assert len(list(itertools.product(*DECIDING.values()))) > MOST
    points = [point for key, point in edge_points((*CHOICES, Number(key="augmentation.hue", low=0, high=1, when=LAST)))]
    found = [point for point in points if "augmentation.hue" in point]
    assert {point["augmentation.hue"] for point in found} == {0, 1}
    assert all((point[key],) == value for point in found for key, value in LAST.items())


def test_conditions_that_exclude_each_other_through_others_have_no_point() -> None:
    name, schedule, *_ = CHOICES
    step = Choice(key="training.ema", choices=(0.0, 0.9), when={"schedule.name": ("step",)})
    cosine = Choice(key="training.mixup", choices=(0.0, 0.2), when={"schedule.name": ("cosine",)})
    both = Number(key="augmentation.hue", low=0, high=1, when={"training.ema": (0.9,), "training.mixup": (0.2,)})
    keys = {key for key, _ in edge_points((name, schedule, step, cosine, both))}
    assert keys == {"optimizer.name", "schedule.name", "training.ema", "training.mixup"}


def test_the_edges_of_any_two_parameters_meet_in_any_order() -> None:
    momentum = Number(key="optimizer.momentum", low=0.0, high=0.9)
    for choices in ((True, False), (False, True)):
        nesterov = Choice(key="optimizer.nesterov", choices=choices)
        for space in ((momentum, nesterov), (nesterov, momentum)):
            points = [point for _, point in edge_points((*space, Choice(key="loss.name", choices=("ce", "focal"))))]
            assert {"optimizer.momentum": 0.0, "optimizer.nesterov": True, "loss.name": "focal"} in points


def test_two_parameters_that_never_exist_together_share_no_point() -> None:
    name = Choice(key="optimizer.name", choices=("sgd", "adam"))
    momentum = Number(key="optimizer.momentum", low=0.1, high=0.9, when={"optimizer.name": ("sgd",)})
    eps = Number(key="optimizer.eps", low=0.1, high=0.9, when={"optimizer.name": ("adam",)})
    points = [point for _, point in edge_points((name, momentum, eps))]
    assert points
    assert not any({"optimizer.momentum", "optimizer.eps"} <= set(point) for point in points)


def test_a_condition_on_a_number_written_otherwise_gives_the_parameter_s_own_choice() -> None:
    hidden = Choice(key="model.hidden", choices=(8, 16))
    points = list(edge_points((hidden, Number(key="optimizer.lr", low=0.1, high=0.2, when={"model.hidden": (8.0,)}))))
    own = [point["model.hidden"] for key, point in points if key == "optimizer.lr"]
    assert own
    assert all(value == 8 and isinstance(value, int) for value in own)


def test_no_point_comes_twice_for_a_parameter() -> None:
    found = [(key, sorted(point.items())) for key, point in edge_points(CHOICES)]
    assert all(found.count(each) == 1 for each in found)


def test_each_of_many_choices_has_its_point_and_their_combinations_are_bounded() -> None:
    keys = ("optimizer.lr", "optimizer.momentum", "training.batch_size", "loss.name")
    space = tuple(
        Choice(key=key, choices=tuple(f"{i}" if key == "loss.name" else i for i in range(70))) for key in keys
    )
    points = [point for _, point in edge_points(space)]
    for parameter in space:
        assert {point[parameter.key] for point in points} == set(parameter.choices)
    assert any(point["optimizer.lr"] == 69 and point["training.batch_size"] == 0 for point in points)
    assert len(points) < 4 * 70 + MOST_POINTS
    assert len(points) < 70**2


def test_a_long_chain_of_conditions_has_a_bounded_number_of_points() -> None:
    chain: list[Choice] = [Choice(key="model.k0", choices=(0, 1))]
    chain += [Choice(key=f"model.k{i}", choices=(0, 1), when={f"model.k{i - 1}": (1,)}) for i in range(1, 60)]
    found = list(edge_points(chain))
    assert {key for key, _ in found} == {parameter.key for parameter in chain}
    assert len(found) <= 2 * len(chain) + MOST_POINTS
    assert never_active(chain) == []
