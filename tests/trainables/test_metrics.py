"""Metrics of a whole split against scikit-learn's own calls and a calibration error by hand, edge cases included."""

import math
import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as theirs
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.preprocessing import label_binarize

from core.metrics import METRICS, Metric
from core.user_code.references import UserCodeError, in_use
from tests.conftest import ROOT
from tests.own_metrics import Write, write
from trainables.config import ConfigError, TrialConfig, resolve
from trainables.metrics.field import FIELD
from trainables.metrics.setting import SplitMetric

__all__ = ["write"]

BASE = {"dataset.name": "digits", "model.name": "small_cnn"}
Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


@st.composite
def splits(draw: st.DrawFn, least: int = 2) -> Arrays:
    """Scores, among them constant, certain and tied ones, and targets in which classes may be absent."""
    classes, length = draw(st.integers(least, 9)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["drawn", "constant", "certain", "tied", "near the edges of bins"]))
    scores = rng.dirichlet(np.full(classes, 0.5), length)
    if kind == "constant":
        scores = np.full((length, classes), 1 / classes)
    elif kind == "certain":
        scores = np.eye(classes)[rng.integers(classes, size=length)]
    elif kind == "tied":
        scores = np.round(scores * 4) + 1
        scores /= scores.sum(1, keepdims=True)
    elif kind == "near the edges of bins":
        first = rng.integers(8, 16, size=length) / 15
        scores = np.zeros((length, classes))
        scores[:, 0], scores[:, 1] = first, 1 - first
    occurring = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes))
    return scores.astype(np.float32), rng.choice(np.array(occurring, dtype=np.int64), length)


def measured(name: str, arrays: Arrays) -> float:
    """The value, NaN where there is none; a warning would be an error."""
    with warnings.catch_warnings(action="error"):
        value, reason = SplitMetric(name=name).measure(*arrays, seed=0)
    assert math.isnan(value) == bool(reason)
    return value


def one_vs_rest(metric: Callable[..., Any], scores: NDArray[Any], targets: NDArray[Any], both: bool) -> float:
    classes = scores.shape[1]
    truth = label_binarize(targets, classes=range(classes))
    truth = np.hstack([1 - truth, truth])[:, 1:] if classes == 2 else truth
    scores = scores[:, 1:] if classes == 2 else scores
    there = truth.any(0) & ~(truth.all(0) & both)
    if not there.any():
        return math.nan
    return float(metric(truth[:, there], scores[:, there], average="macro"))


def calibration_error(scores: NDArray[Any], targets: NDArray[Any]) -> float:
    """Guo et al. (2017), equation 3, bin by bin."""
    confidence, hits = scores.max(1).astype("float64"), scores.argmax(1) == targets
    found = 0.0
    for m in range(15):
        inside = (confidence > np.linspace(0, 1, 16)[m]) & (confidence <= np.linspace(0, 1, 16)[m + 1])
        if inside.any():
            found += inside.sum() / len(targets) * abs(hits[inside].mean() - confidence[inside].mean())
    return found


def by_library(name: str, scores: NDArray[Any], targets: NDArray[Any]) -> float:
    guess, classes = scores.argmax(1), scores.shape[1]
    with warnings.catch_warnings(action="ignore"):
        match name:
            case "top5_accuracy":
                return float(theirs.top_k_accuracy_score(targets, scores, k=5, labels=range(classes)))
            case "f1_macro" | "f1_weighted":
                return float(theirs.f1_score(targets, guess, average=name[3:]))
            case "auroc":
                return one_vs_rest(theirs.roc_auc_score, scores, targets, both=True)
            case "average_precision":
                return one_vs_rest(theirs.average_precision_score, scores, targets, both=False)
            case "kappa":
                return float(theirs.cohen_kappa_score(targets, guess))
            case "mcc":
                return float(theirs.matthews_corrcoef(targets, guess))
            case "brier":
                return float(((np.eye(classes)[targets] - scores.astype("float64")) ** 2).sum(1).mean())
    return calibration_error(scores, targets)


@pytest.mark.parametrize("name", sorted(FIELD))
@given(data=st.data())
def test_each_is_its_library_s(name: str, data: st.DataObject) -> None:
    scores, targets = data.draw(splits(6 if name == "top5_accuracy" else 2))
    value = measured(name, (scores, targets))
    assert value == pytest.approx(by_library(name, scores, targets), abs=1e-6, nan_ok=True)
    low, high = METRICS[name].low, METRICS[name].high
    assert math.isnan(value) or ((low is None or value >= low - 1e-9) and (high is None or value <= high + 1e-9))


@given(arrays=splits(3))
def test_auroc_of_several_classes_that_all_occur_is_the_library_s_one_vs_rest(arrays: Arrays) -> None:
    scores, targets = arrays
    if len(set(targets)) == scores.shape[1]:
        parts = np.floor(64 * scores)  # of 64, so that rows sum to 1 exactly, as the library asks, and ties stay ties
        parts[:, 0] += 64 - parts.sum(1)
        exact = (parts / 64).astype("float32")
        library = float(theirs.roc_auc_score(targets, exact, multi_class="ovr"))
        assert measured("auroc", (exact, targets)) == pytest.approx(library, abs=1e-6)


@given(arrays=splits())
def test_brier_is_the_library_s_where_it_takes_several_classes(arrays: Arrays) -> None:
    scores, targets = arrays
    exact = scores.astype("float64") / scores.sum(1, keepdims=True, dtype="float64")
    try:
        library = theirs.brier_score_loss(targets, exact, labels=range(scores.shape[1]), scale_by_half=False)
    except TypeError:
        pytest.skip("scikit-learn before 1.7 takes two classes")
    assert measured("brier", arrays) == pytest.approx(float(library), abs=1e-5)


@pytest.mark.parametrize("name", sorted(FIELD))
@pytest.mark.parametrize("classes", [2, 7])
def test_one_example_aborts_nothing(name: str, classes: int) -> None:
    arrays = np.full((1, classes), 1 / classes, np.float32), np.array([1])
    measured(name, arrays)


@pytest.mark.parametrize(
    ("name", "targets", "reason"),
    [
        ("auroc", [1, 1], "one class alone occurs"),
        ("average_precision", [0, 0], "the second of two classes does not occur"),
        ("kappa", [0, 0], "one class alone occurs and is predicted"),
        ("f1_macro", [], "the split is empty"),
    ],
)
def test_what_has_no_value_says_why(name: str, targets: list[int], reason: str) -> None:
    scores = np.tile(np.array([0.9, 0.1], np.float32), (len(targets), 1)).reshape(-1, 2)
    assert SplitMetric(name=name).measure(scores, np.array(targets, np.int64), 0)[1] == reason


@pytest.mark.parametrize("name", sorted(FIELD))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_have_no_value(name: str, value: float) -> None:
    scores = np.array([[value, 0.5], [0.5, 0.5]], np.float32)
    assert SplitMetric(name=name).measure(scores, np.array([0, 1]), 0)[1] == "the scores are not finite"


def test_no_metric_changes_or_copies_what_it_is_given() -> None:
    scores, targets = np.random.default_rng(0).dirichlet(np.ones(7), 50).astype(np.float32), np.arange(50) % 7
    scores.flags.writeable = targets.flags.writeable = False
    for name in FIELD:
        measured(name, (scores, targets))


# --- a function of the user's


def mine(**changes: Any) -> SplitMetric:
    return SplitMetric.model_validate({"name": "mine.py:f", "maximise": True, **changes})


TEN = {"val": [5] * 10, "test": [5] * 10}


def on_three(metric: SplitMetric, seed: int = 0) -> tuple[float, str]:
    return metric.measure(np.full((3, 2), 0.5, np.float32), np.array([0, 1, 1]), seed)


def test_it_is_given_probabilities_and_classes_and_spoils_them_for_nobody(write: Write) -> None:
    write("""
def f(scores, targets):
    assert (scores.dtype, scores.shape, targets.dtype, targets.shape) == (np.float32, (3, 2), np.int64, (3,))
    scores[:], targets[:] = 7, 0
    return 0.25
""")
    scores, targets = np.full((3, 2), 0.5, np.float32), np.array([0, 1, 1])
    assert mine().measure(scores, targets, 0) == (0.25, "")
    assert (scores == 0.5).all()
    assert targets.tolist() == [0, 1, 1]


def test_what_it_draws_is_the_seed_s_and_nobody_else_s(write: Write) -> None:
    write("import torch\nf = lambda scores, targets: random.random() + np.random.rand() + float(torch.rand(()))")
    on_three(mine())
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert on_three(mine(), 1) == on_three(mine(), 1) != on_three(mine(), 2)
    assert states[0] == random.getstate()
    assert torch.equal(states[1], torch.get_rng_state())
    assert states[2] == np.random.get_state()[1].tolist()  # type: ignore[index]


@pytest.mark.parametrize("value", ["1", "np.float32(1)", "np.array(1.0)", "scores[:, :1].sum() - 0.5"])
def test_any_number_will_do(write: Write, value: str) -> None:
    write(f"def f(scores, targets):\n    return {value}")
    assert on_three(mine()) == (1.0, "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_null_and_says_so(write: Write, value: float) -> None:
    write(f"def f(scores, targets):\n    return float('{value}')")
    assert on_three(mine())[1] == f"it came to {value}"


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("1.0, 2.0", "2 values"),
        ("np.zeros(3)", "ndarray"),
        ("None", "nothing"),
        ("'0.5'", "str"),
        ("True", "bool"),
        ("1j", "complex"),
        ("{'f1': 1.0}", "dict"),
    ],
)
def test_what_is_no_number_is_a_fault_with_its_line(write: Write, value: str, got: str) -> None:
    file = write(f"def f(scores, targets):\n    return {value}")
    fault = f"mine.py:f: returns {got}; allowed: one number for the split ({file}, line 3)"
    assert mine().fault(TEN) == f"metrics: {fault}"
    with pytest.raises(UserCodeError) as caught:
        on_three(mine())
    assert caught.value.faults == [fault]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(scores):\n    return 1.0", "TypeError"),
        ("def f(scores, targets):\n    return float(np.ones(3).reshape(2))", "line 4: ValueError: cannot reshape"),
        ("def f(scores, targets):\n    return lost", "line 4: NameError: name 'lost'"),
        ("def g(scores, targets):\n    return 1.0", "defines no f; allowed: g"),
        ("def f(scores, targets)\n    return 1.0", "line 3: SyntaxError"),
        ("raise KeyError('x')", "line 3: KeyError"),
    ],
)
def test_an_error_is_a_fault_with_the_user_s_line(write: Write, text: str, said: str) -> None:
    write(text)
    assert said in str(mine().fault(TEN))
    assert "\n" not in str(mine().fault(TEN))


def test_it_is_tried_on_the_classes_that_occur_in_each_split(write: Write) -> None:
    write("def f(scores, targets):\n    assert set(targets) == {0, 1, 2}, np.unique(targets)\n    return 1.0")
    assert mine().fault({"val": [3, 9, 1], "test": [3, 9, 1]}) is None
    assert "AssertionError: [0 2]" in str(mine().fault({"val": [3, 9, 1], "test": [3, 0, 1]}))


# --- the setting


def config(*entries: Any, **settings: Any) -> TrialConfig:
    return resolve(BASE, {"metrics": list(entries), **settings})


def test_entries_are_in_order_and_a_column_may_be_named(write: Write) -> None:
    made = config("mcc", {"name": "mine.py:cost", "maximise": False, "as": "price"}, "ece")
    assert made.model_dump(mode="json")["metrics"] == [
        "ece",
        "mcc",
        {"name": "mine.py:cost", "maximise": False, "as": "price"},
    ]
    assert made == config({"name": "ece"}, "mcc", {"name": "mine.py:cost", "maximise": False, "as": "price"})
    assert config({"name": "lib.scores:gain", "maximise": True}).metrics[0].column == "gain"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("f1_makro", "metrics: number 1: 'f1_makro' is unknown; allowed: top5_accuracy, .*did you mean 'f1_macro'"),
        ("accuracy", "records unasked"),
        ({"name": "ece", "maximise": True}, "ece has a name and a direction; leave out maximise"),
        ({"name": "mine.py:f"}, "mine.py:f: `maximise` is missing; allowed: true"),
        ({"name": "mine.py:f", "maximize": True}, "maximize: unknown setting .*did you mean 'maximise'"),
        ({"name": "mine.py:f", "maximise": "yes"}, "maximise: takes true or false"),
        ({"name": "mine.py:f1", "maximise": True}, "the name 'f1' is taken; give another by `as`"),
        ({"name": "mine.py:Loss", "maximise": True}, "the name 'Loss' is taken"),
        ({"name": "mine.py:f", "maximise": True, "as": "roughness"}, "the name 'roughness' is taken"),
        ({"name": "mine.py:f", "maximise": True, "as": "my cost"}, "'my cost' cannot be the name of a column"),
        ({"name": "mine.py:test_f", "maximise": True}, "'test_f' cannot be the name of a column"),
        (3, "takes a metric's name"),
    ],
)
def test_entries_that_cannot_be_are_refused(entry: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(entry)


def test_one_column_stands_once(write: Write) -> None:
    with pytest.raises(ConfigError, match="metrics: gain stands twice"):
        config({"name": "a.py:gain", "maximise": True}, {"name": "b.py:gain", "maximise": True})


def test_an_epoch_is_selected_by_what_is_recorded_on_validation() -> None:
    assert config("kappa", **{"selection.metric": "val_kappa"}).selection.metric == "val_kappa"
    with pytest.raises(ConfigError, match=r"'val_kappa' is unknown.*`metrics: \[kappa\]` records it"):
        config("mcc", **{"selection.metric": "val_kappa"})
    with pytest.raises(ConfigError, match=r"'test_kappa' is unknown; allowed: val_reference.*val_kappa"):
        config("kappa", **{"selection.metric": "test_kappa"})


def test_a_direction_holds_for_a_process(write: Write) -> None:
    config({"name": "a.py:gain", "maximise": True})
    config({"name": "b.py:gain", "maximise": True})
    with pytest.raises(ConfigError, match="metrics: gain: maximise: false is not the direction that it has in another"):
        config({"name": "a.py:gain", "maximise": False})


# --- the documentation


def snippets(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_function_that_the_documentation_shows_is_recorded_as_it_says(write: Write) -> None:
    (snippet,) = (text for text in snippets("docs/studies.md") if "def cost" in text)
    write(snippet).rename(in_use()[""] / "my_metrics.py")
    (metric,) = config({"name": "my_metrics.py:cost", "maximise": False}).metrics
    assert metric.record == {"name": "cost", "maximise": False}
    scores, targets = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32), np.array([0, 1])
    assert metric.measure(scores, targets, 0) == (pytest.approx(0.375), "")


def test_the_metric_that_contributing_shows_can_be_asked_for() -> None:
    (snippet,) = (text for text in snippets("CONTRIBUTING.md") if "def top_score" in text)
    exec(snippet, {"FIELD": FIELD, "METRICS": METRICS, "Metric": Metric})
    try:
        (metric,) = config("top_score", **{"selection.metric": "val_top_score"}).metrics
        assert metric.record == {"name": "top_score", "maximise": True}
    finally:
        del FIELD["top_score"], METRICS["top_score"]
