"""Every study is what its source reports, cell by cell."""

from search_spaces.designs import Cell
from search_spaces.registry import STUDIES
from search_spaces.study import AblationStudy
from tests.search_spaces.golden_cells import GOLDEN, all_cells


def cells(name: str) -> dict[str, Cell]:
    study = STUDIES[name]
    assert isinstance(study, AblationStudy)
    return {cell.name: cell for cell in study.layout().cells}


def test_no_cell_has_changed_unnoticed() -> None:
    assert all_cells() == GOLDEN.read_text(encoding="utf-8")


def test_the_expression_ladder_has_the_sources_nine_rungs() -> None:
    rungs = list(cells("expressions/ladder").values())
    epochs = [rung.settings.get("training.epochs", 30) for rung in rungs]
    assert epochs == [30, 30, 30, 50, 40, 100, 100, 300, 1000]
    batches = [rung.settings.get("training.batch_size", 64) for rung in rungs]
    assert batches == [64, 64, 64, 128, 128, 128, 128, 128, 128]
    assert [rung.settings.get("optimizer.lr", 0.01) for rung in rungs] == [0.01] + [0.1] * 8
    assert STUDIES["expressions/ladder"].baseline["selection.rule"] == "last"
    assert [bool(rung.settings.get("dataset.train_on_validation")) for rung in rungs] == [False] * 8 + [True]


def test_the_landmark_optimizers_switch_at_200_of_250_and_350_of_400() -> None:
    found = cells("landmarks/optimizers")
    assert (
        STUDIES["landmarks/optimizers"].epochs * found["optimizer=adam→sgd at 80 %"].settings["optimizer.switch"] == 200
    )
    late = found["optimizer=adam→sgd at 87.5 %"].settings
    assert late["training.epochs"] * late["optimizer.switch"] == 350
    assert late["optimizer.sgd_lr"] == 0.00001


def test_face_studies_are_two_by_two_and_three_and_four_cells() -> None:
    sizes = {name: len(cells(f"faces/{name}")) for name in ("class-weights", "loss-weights", "bn-dropout")}
    assert sizes == {"class-weights": 3, "loss-weights": 4, "bn-dropout": 4}
    assert cells("faces/bn-dropout")["bn=five + dropout=0.5"].settings == {
        "model.bn_after": ["conv1_1", "conv2_1", "conv2_2", "conv3_1", "conv3_2"],
        "model.dropout_after": ["flatten", "flatten_cls"],
        "model.dropout_rate": 0.5,
    }
