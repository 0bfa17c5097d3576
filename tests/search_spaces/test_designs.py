"""Designs against hand-written cells and comparisons."""

import pytest

from search_spaces.designs import DESIGNS, Layout, cells_ahead
from search_spaces.factors import Factor

one_at_a_time, leave_one_out, ladder, factorial, path, confirm = (
    DESIGNS[name].layout for name in ("one_at_a_time", "leave_one_out", "ladder", "factorial", "path", "confirm")
)

BN = Factor.of("bn", {"off": {}, "on": {"model.bn_after": ["conv1"]}})
LR = Factor.of("lr", {"0.01": {"optimizer.lr": 0.01}, "0.1": {"optimizer.lr": 0.1}, "1": {"optimizer.lr": 1.0}})
FLIP = Factor.of("flip", {"no": {}, "yes": {"augmentation.flip": True}})
COSINE = Factor.of("schedule", {"constant": {}, "cosine": {"schedule.name": "cosine"}})


def cells(layout: Layout) -> dict[str, str]:
    """Cell name → its levels, in words."""
    return {cell.name: " ".join(cell.levels.values()) for cell in layout.cells}


def comparisons(layout: Layout) -> list[tuple[str, str, str, str, str]]:
    return [(c.factor, c.level, c.baseline_level, c.cell, c.baseline_cell) for c in layout.comparisons]


def test_one_at_a_time_changes_one_factor_in_each_cell() -> None:
    layout = one_at_a_time([BN, LR])
    assert cells(layout) == {"baseline": "off 0.01", "bn=on": "on 0.01", "lr=0.1": "off 0.1", "lr=1": "off 1"}
    assert comparisons(layout) == [
        ("bn", "on", "off", "bn=on", "baseline"),
        ("lr", "0.1", "0.01", "lr=0.1", "baseline"),
        ("lr", "1", "0.01", "lr=1", "baseline"),
    ]


def test_leave_one_out_puts_one_factor_back_in_each_cell() -> None:
    layout = leave_one_out([BN, FLIP, COSINE])
    assert cells(layout) == {
        "full": "on yes cosine",
        "without bn": "off yes cosine",
        "without flip": "on no cosine",
        "without schedule": "on yes constant",
    }
    assert comparisons(layout) == [
        ("bn", "off", "on", "without bn", "full"),
        ("flip", "no", "yes", "without flip", "full"),
        ("schedule", "constant", "cosine", "without schedule", "full"),
    ]


def test_a_ladder_keeps_what_it_turned_on_and_compares_with_the_rung_before_and_rung_zero() -> None:
    layout = ladder([BN, FLIP, COSINE])
    assert cells(layout) == {
        "0 baseline": "off no constant",
        "1 + bn": "on no constant",
        "2 + flip": "on yes constant",
        "3 + schedule": "on yes cosine",
    }
    assert comparisons(layout) == [
        ("ladder", "1 + bn", "0 baseline", "1 + bn", "0 baseline"),
        ("ladder", "2 + flip", "1 + bn", "2 + flip", "1 + bn"),
        ("ladder", "2 + flip", "0 baseline", "2 + flip", "0 baseline"),
        ("ladder", "3 + schedule", "2 + flip", "3 + schedule", "2 + flip"),
        ("ladder", "3 + schedule", "0 baseline", "3 + schedule", "0 baseline"),
    ]


def test_a_ladder_of_one_factor_has_one_comparison() -> None:
    assert comparisons(ladder([BN])) == [("ladder", "1 + bn", "0 baseline", "1 + bn", "0 baseline")]


def test_a_factorial_joins_the_names_of_what_changed() -> None:
    layout = factorial([BN, LR])
    assert cells(layout) == {
        "baseline": "off 0.01",
        "lr=0.1": "off 0.1",
        "lr=1": "off 1",
        "bn=on": "on 0.01",
        "bn=on + lr=0.1": "on 0.1",
        "bn=on + lr=1": "on 1",
    }
    assert comparisons(layout) == [
        ("lr", "0.1", "0.01", "lr=0.1", "baseline"),
        ("lr", "1", "0.01", "lr=1", "baseline"),
        ("bn", "on", "off", "bn=on", "baseline"),
        ("bn + lr", "on + 0.1", "off + 0.01", "bn=on + lr=0.1", "baseline"),
        ("bn + lr", "on + 1", "off + 0.01", "bn=on + lr=1", "baseline"),
    ]


def test_a_path_holds_the_steps_taken_and_every_candidate_of_theirs_and_of_the_next() -> None:
    assert cells(path([BN, FLIP, COSINE])) == {
        "0 default": "off no constant",
        "1 + bn": "on no constant",
        "1 + flip": "off yes constant",
        "1 + schedule": "off no cosine",
    }
    layout = path([BN, FLIP, COSINE], ["schedule", "bn"])
    assert cells(layout) == {
        **cells(path([BN, FLIP, COSINE])),
        "2 + bn": "on no cosine",
        "2 + flip": "off yes cosine",
        "3 + flip": "on yes cosine",
    }
    assert comparisons(layout) == [
        ("path", "1 + schedule", "0 default", "1 + schedule", "0 default"),
        ("path", "2 + bn", "1 + schedule", "2 + bn", "1 + schedule"),
        ("path", "2 + bn", "0 default", "2 + bn", "0 default"),
    ]


@pytest.mark.parametrize("factors", [[BN], [BN, FLIP], [BN, FLIP, COSINE]], ids=len)
def test_a_path_has_one_cell_and_k_times_k_plus_one_half_more(factors: list[Factor]) -> None:
    k, names = len(factors), [factor.name for factor in factors]
    for steps in range(k):
        layout = path(factors, names[:steps])
        assert len(layout.cells) + cells_ahead(factors, names[:steps]) == 1 + k * (k + 1) // 2
    assert len(path(factors, names).cells) == 1 + k * (k + 1) // 2


def test_confirmed_configurations_face_the_default_and_the_first_of_them_the_others() -> None:
    layout = confirm([LR])
    assert cells(layout) == {"0.01": "0.01", "0.1": "0.1", "1": "1"}
    assert comparisons(layout) == [
        ("lr", "0.1", "0.01", "0.1", "0.01"),
        ("lr", "1", "0.01", "1", "0.01"),
        ("lr", "0.1", "1", "0.1", "1"),
    ]
    with pytest.raises(ValueError, match="takes one factor"):
        confirm([LR, BN])


@pytest.mark.parametrize("design", [leave_one_out, ladder, path])
def test_on_and_off_designs_refuse_a_third_level_by_name(design: object) -> None:
    with pytest.raises(ValueError, match="takes factors of two levels, off and on; lr has 3") as caught:
        design([BN, LR, FLIP])  # type: ignore[operator]
    assert "bn has" not in str(caught.value)


def test_the_registry_of_designs_is_not_empty() -> None:
    assert DESIGNS


def taken(name: str, factors: list[Factor]) -> list[Factor]:
    """As many of the factors as the design takes."""
    return factors[:1] if name == "confirm" else factors


def whole(name: str, factors: list[Factor]) -> Layout:
    """Of a path all steps, in the order of the factors."""
    return (
        path(factors, [factor.name for factor in factors])
        if name == "path"
        else DESIGNS[name].layout(taken(name, factors))
    )


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("factors", [[BN], [BN, FLIP], [BN, FLIP, COSINE]], ids=len)
def test_every_design_lays_out_different_cells_and_compares_cells_that_it_has(name: str, factors: list[Factor]) -> None:
    layout = whole(name, factors)
    names, levels = list(cells(layout)), list(cells(layout).values())
    assert len(names) == len(set(names)) == len(set(levels)) == len(layout.cells) > 1
    rows = comparisons(layout)
    assert len(rows) == len(set(rows)) > 0
    for _, _, _, cell, baseline in rows:
        assert {cell, baseline} <= set(names)
        assert cell != baseline
    passed_over = set(names) - {layout.cells[0].name} - {cell for *_, cell, _ in rows}
    assert len(passed_over) == (len(factors) * (len(factors) - 1) // 2 if name == "path" else 0)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_cell_s_settings_are_those_of_its_levels(name: str) -> None:
    factors = taken(name, [BN, FLIP, COSINE])
    for cell in whole(name, factors).cells:
        expected: dict[str, object] = {}
        for factor in factors:
            (level,) = [level for level in factor.levels if level.name == cell.levels[factor.name]]
            expected |= level.settings
        assert cell.settings == expected
