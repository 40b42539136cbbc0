"""MES-Pseudo on validation songs while a stage trains."""

from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from stemwise.corpora.bank import Bank
from stemwise.evaluation import Subject, pseudo_scores
from stemwise.models.cascade import Cascade, Clean
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo10x5

__all__ = ["MesValidation"]

PROTOCOL = Pseudo10x5(groups=2, segments_per_piece=3)
SECONDS = 10.0


class MesValidation(Callback):
    """Logs accuracy and leakage per part, and their mean, every few epochs and at the end."""

    def __init__(self, bank: Bank, every_epochs: int) -> None:
        self.bank, self.every_epochs = bank, every_epochs

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        """Score the network as it is; every process does, and finds the same."""
        epoch = trainer.current_epoch + 1
        if not self.every_epochs or (epoch % self.every_epochs and epoch != trainer.max_epochs):
            return
        network: Any = module.network
        segments = self.bank.segments("valid", SECONDS, SECONDS)
        network.eval()
        takes_stems = isinstance(network, Clean) and not isinstance(network, Cascade)
        parts = network.shape.parts if isinstance(network, Clean) else PARTS
        subject = Subject(network.describe, takes_stems, parts, str(module.device))
        scores, _ = pseudo_scores(self.bank, segments, subject, PROTOCOL)
        network.train()
        for part, score in scores.items():
            module.log(f"valid/accuracy_{part}", score["accuracy"])
            module.log(f"valid/leakage_{part}", score["leakage"])
        accuracy = float(np.mean([score["accuracy"] for score in scores.values()]))
        module.log("valid/mes_pseudo", accuracy)
