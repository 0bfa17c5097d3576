"""Runs in every state that a report can meet, each with sentences that its page has to say."""

from tests.analysis import runs

THREE = [0.80, 0.81, 0.83]


def ablation(path, outcomes, **changes):
    seeds = changes.pop("seeds", range(3))
    return runs.write_outcomes(path, runs.study(outcomes, seeds, **changes), outcomes)


def search(path, outcomes, **changes):
    return runs.write_outcomes(path, runs.search(**changes), outcomes)


def bare(make, outcomes):
    """study.json alone, as a run leaves it that was killed before its first event."""

    def made(path):
        run = make(path, outcomes)
        (run / "log.jsonl").unlink()
        return run

    return made


def empty_log(make, outcomes):
    def made(path):
        run = make(path, outcomes)
        (run / "log.jsonl").write_bytes(b"")
        return run

    return made


STATES = {
    "unfinished ablation": (
        lambda path: ablation(path, {"baseline": THREE, "loss=a": [0.9, "running"]}),
        [
            "This run is not finished: 4 finished, 1 running, of 6 planned trials.",
            "4 of 6 trials ended",
            "loss=a, seed 1: epoch 4 of 10",
            "loss = a: balanced accuracy +0.10 over 1 seed, against ce: too few runs",
        ],
    ),
    "unfinished search": (
        lambda path: search(path, {"c0": [0.7], "c1": ["running"]}),
        [
            "not finished: 1 finished, 1 running, of 4 planned trials",
            "1 of 4 trials ended",
            "c1, seed 0: epoch 4 of 10",
        ],
    ),
    "nothing finished yet": (
        lambda path: ablation(path, {"baseline": ["running"]}),
        ["No trial has finished", "The curves show the trials that are running.", "Learning curves"],
    ),
    "failed ablation": (
        lambda path: ablation(path, {"baseline": ["failed"] * 3, "loss=a": ["failed", "diverged", "failed"]}),
        ["Every trial that ran has failed or diverged", "What did not work", "it broke", "unstable"],
    ),
    "failed search": (
        lambda path: search(path, {f"c{number}": ["failed"] for number in range(4)}),
        ["Every trial that ran has failed or diverged", "What did not work", "it broke"],
    ),
    "one seed, ablation": (
        lambda path: ablation(path, {"baseline": [0.8], "loss=a": [0.9]}, seeds=[0]),
        [
            "One seed: differences are shown as they are, without intervals, p-values or verdicts",
            "loss = a: balanced accuracy +0.10 over 1 seed, against ce: too few runs",
            "one seed gives no p-value",
        ],
    ),
    "two seeds, ablation": (
        lambda path: ablation(path, {"baseline": [0.8, 0.81], "loss=a": [0.9, 0.92]}, seeds=[0, 1]),
        ["2 seeds give intervals but no verdicts: 3 are the fewest"],
    ),
    "one cell, ablation": (
        lambda path: ablation(path, {"baseline": THREE}),
        ["The study has one cell and no comparison", "Ranking", "Learning curves"],
    ),
    "one cell, search": (
        lambda path: search(path, {"c0": [0.7]}, samples=1),
        ["One configuration has finished, so there is nothing to compare it with.", "c0: best balanced accuracy"],
    ),
    "study alone, ablation": (
        bare(ablation, {"baseline": THREE, "loss=a": THREE}),
        ["not finished: none started, of 6 planned trials", "nothing can be compared yet. No trial has started."],
    ),
    "study alone, search": (
        bare(search, {"c0": [0.7]}),
        ["none started, of 4 planned trials", "No trial has started."],
    ),
    "empty log, ablation": (empty_log(ablation, {"baseline": THREE}), ["none started, of 3 planned trials"]),
    "empty log, search": (empty_log(search, {"c0": [0.7]}), ["none started, of 4 planned trials"]),
}
