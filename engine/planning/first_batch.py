"""Tries a configuration with code of the user's own on one batch, as a trial would train it, before Ray starts."""

import hashlib
import math
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from core.user_code.guard import printed_apart
from core.user_code.references import UserCodeError, line_of
from datasets.cache.cache import open_dataset
from trainables.config import TrialConfig
from trainables.models.hooks import watch_outputs
from trainables.own_components import OwnModel
from trainables.training.extra_augmentation import augmented
from trainables.training.learner import Learner

ROWS = 8  # of the batch, at most: enough for every layer that needs several
SIMPLE = (bool, int, float, str, type(None))


class FirstBatch:
    """What a step and an evaluation showed: `faults`, and `remarks` on what cannot be promised."""

    def __init__(self, config: TrialConfig, cache_file: Path) -> None:
        self.config, self.faults, self.remarks = config, list[str](), list[str]()
        dataset = open_dataset(config.dataset, cache_file)
        try:
            with printed_apart():
                first, again = (self._trained(Learner(config, dataset, 0, torch.device("cpu"))) for _ in range(2))
        except UserCodeError as error:
            self.faults += [f"{setting_of(config, fault)}: {fault}" for fault in error.faults]
        except (Exception, SystemExit) as error:
            self.faults.append(self._sentence(error))
        else:
            if first != again:
                self.remarks.append(
                    f"{self._names}: two first steps from one seed differ, so no rerun will be equal bit for bit; draw "
                    "from the generators of torch, numpy or random, and not from the clock or the system"
                )

    @property
    def _names(self) -> str:
        return ", ".join(dict.fromkeys(self.config.own_references))

    def _trained(self, learner: Learner) -> str:
        """A digest of a step's loss, its weights, and what an evaluation then measures."""
        learner.network.train()
        rows = torch.arange(min(self.config.training.batch_size, len(learner.labels["train"]), ROWS))
        before = dict(_unsaved(learner.network))
        learner.rng.seed(learner.dropout_seed)
        draws = learner.draw_batch(rows, 0)
        with learner.rng, watch_outputs({"": learner.network}, partial(self._check_scores, len(learner.info.classes))):
            loss = learner.step(draws, learner.task.totals())
        if not math.isfinite(loss.item()):
            self._remark(f"{self._names}: the loss of the first batch is {loss.item()}, so nothing will be trained")
        if changed := [name for name, value in _unsaved(learner.network) if before.get(name, value) != value]:
            self._remark(
                f"{self._names}: a step changes {', '.join(changed[:3])}, which no checkpoint holds, so a resumed "
                "trial will differ from an undisturbed one; keep such state in buffers"
            )
        measured = learner.evaluate("val", len(rows))
        epochs, settings = self.config.training.epochs, self.config.optimizer
        rates = [settings.lr_at(epoch, epochs, self.config.schedule) for epoch in range(1, epochs + 1)]
        self._time_augmentation(learner, rows)
        digest = hashlib.blake2b(f"{loss.item()} {sorted(measured.items())} {rates}".encode())
        for value in learner.network.state_dict().values():
            digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _check_scores(self, classes: int, name: str, found: object) -> None:
        """What a network of the user's own gives in training mode is what it gave in evaluation."""
        if isinstance(self.config.model, OwnModel):
            pictures = len(found) if isinstance(found, Tensor) and found.ndim else 0
            self.config.model.check_scores(found, pictures, classes, " in training mode")

    def _time_augmentation(self, learner: Learner, rows: Tensor) -> None:
        if not (extra := self.config.augmentation.extra) or any(extra in remark for remark in self.remarks):
            return
        images, began = learner.data.splits["train"].images[rows], time.perf_counter()
        augmented(extra, images, 0)
        milliseconds = 1000 * (time.perf_counter() - began) / len(rows)
        self._remark(f"augmentation.extra: {extra} takes {milliseconds:.2g} ms of each picture of an epoch")

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def _sentence(self, error: BaseException) -> str:
        if "does not require grad" in str(error):
            why = "the loss has no gradient: it is computed outside of torch (detach, item, numpy)"
            return f"loss.name: {self.config.loss.name}: {why}"
        at, raised = line_of(error), type(error).__name__
        own = [kind for kind, part in self.config if getattr(part, "own_references", ())]
        stepped = any(frame.name == "optimizer_step" for frame in traceback.extract_tb(error.__traceback__))
        kind = "optimizer" if stepped and "optimizer" in own else own[0]
        key = f"{kind}.extra" if kind == "augmentation" else f"{kind}.name"
        return f"{key}: {self._names}: fails on a batch: {at}{raised}: {' '.join(str(error).split())}"


def setting_of(config: TrialConfig, fault: str) -> str:
    """The dotted setting of the reference that a fault begins with."""
    for kind, part in config:
        for reference in getattr(part, "own_references", ()):
            if fault.startswith(f"{reference}:"):
                return f"{kind}.extra" if kind == "augmentation" else f"{kind}.name" if hasattr(part, "name") else kind
    return "model.name"


def _unsaved(network: nn.Module) -> Iterator[tuple[str, object]]:
    """Values in a network's modules that are neither parameters nor buffers."""
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            if key != "training" and isinstance(value, SIMPLE):
                yield f"{name}.{key}".lstrip("."), value
