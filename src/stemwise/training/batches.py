"""What the stages are fed: a plan, drawn for (seed, epoch, index), and its sound from the bank.

A batch is planned whole by every process and shared out among them: process r of W takes items r,
r + W, ... So the items are the same however many processes there are; none is lost or repeated.

Conventions: B batch (this process's share), V view (anchor, positive, negative), K targets of an
item (basic, additional), I instrument part, N sample.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from stemwise.recipe import BatchSettings, PresenceSettings, PretrainingSettings, TripletSettings
from stemwise.sampling import (
    Plan,
    Segments,
    Subsets,
    Triplets,
    contrastive_plan,
    listed_triplets,
    normal_triplets,
    presence_plan,
    pseudo_triplets,
    subset_plan,
)

__all__ = [
    "VALIDATION_SEED", "Aims", "Batch", "ContrastiveBatches", "Gatherer", "PresenceBatches",
    "Source", "SubsetBatches", "TripletBatches",
]  # fmt: skip

Batch = dict[str, torch.Tensor]
VALIDATION_SEED = 1  # added to the run's: validation draws are not training's


class Gatherer(Protocol):
    """A bank, in files or on a device."""

    def gather(self, plan: Plan) -> Any:
        """Return the stems of a plan, (B, V, I, N)."""


@dataclass(frozen=True)
class Source:
    """Where batches come from.

    Attributes:
        bank: `Bank` or `TensorBank`.
        segments: of the split.
        seed: of the draws.
        rank: which process this is.
        world: how many there are.
    """

    bank: Gatherer
    segments: Segments
    seed: int
    rank: int = 0
    world: int = 1

    def gather(self, plan: Plan) -> torch.Tensor:
        """Return this process's share of the stems of a plan, (B, V, I, N)."""
        own = Plan(self.share(plan.pieces), self.share(plan.starts), self.share(plan.gains_db),
                   plan.length_samples)  # fmt: skip
        return torch.as_tensor(self.bank.gather(own))

    def share(self, items: NDArray[Any]) -> NDArray[Any]:
        """Return this process's share of something that has one row per item."""
        return items[self.rank :: self.world]


class TripletBatches(Dataset[Batch]):
    """Batches of triplets: mixtures (B, 3, N), targets (B, K) and, if asked, stems (B, 3, K, N).

    With `part`, all triplets are about it (Clean, Cascade); otherwise each has its own targets
    (Direct). With `alone`, the target stem is all that there is (Clean).
    """

    def __init__(
        self, source: Source, settings: TripletSettings, *, epoch: int, items: int,
        part: int | None = None, alone: bool = False, stems: bool = False,
    ) -> None:  # fmt: skip
        self.source, self.settings, self.epoch = source, settings, epoch
        self.items, self.part, self.alone, self.stems = items, part, alone, stems

    def __len__(self) -> int:
        return -(-self.items // self.settings.batch)

    def draw(self, index: int) -> Triplets:
        """Return the triplets of batch `index`, of all processes."""
        segments, seed, batch = self.source.segments, self.source.seed, self.settings.batch
        if self.settings.plan == "listed" and self.part is None:
            return listed_triplets(
                segments, seed, self.epoch, index, batch=batch,
                size=self.settings.triplets_per_epoch,
            )  # fmt: skip
        if self.settings.plan == "normal":
            return normal_triplets(
                segments, seed, self.epoch, index, batch=batch, part=self.part, alone=self.alone
            )
        return pseudo_triplets(segments, seed, self.epoch, index, batch=batch, part=self.part)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        triplets = self.draw(index)
        stems = self.source.gather(triplets.plan)
        targets = torch.from_numpy(self.source.share(triplets.targets)).to(stems.device)
        batch = {"mixture": stems.sum(dim=2), "targets": targets}
        if self.stems:
            b, v, _, n = stems.shape
            where = targets[:, None, :, None].expand(b, v, targets.shape[1], n)
            batch["stems"] = stems.gather(2, where)
        return batch


class SubsetBatches(Dataset[Batch]):
    """Batches of pre-training: mixtures (B, N) of subsets of stems, and their aims (B, 640)."""

    def __init__(
        self, source: Source, settings: PretrainingSettings, *, epoch: int, items: int,
        aims: "Aims | None" = None,
    ) -> None:  # fmt: skip
        self.source, self.settings, self.epoch = source, settings, epoch
        self.items, self.aims = items, aims

    def __len__(self) -> int:
        return -(-self.items // self.settings.batch)

    def draw(self, index: int) -> Subsets:
        """Return the subsets of batch `index`, of all processes."""
        return subset_plan(
            self.source.segments,
            self.source.seed,
            self.epoch * len(self) + index,
            batch=self.settings.batch,
            songs=self.settings.songs or None,
            per_song=self.settings.segments_per_song,
        )

    def rows(self) -> NDArray[np.int64]:
        """Return the segments of all batches of this epoch, ascending."""
        return np.unique(np.concatenate([self.draw(index).rows for index in range(len(self))]))

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        assert self.aims is not None
        drawn = self.draw(index)
        stems = self.source.gather(drawn.plan)[:, 0]
        aims = self.aims.of(self.source.share(drawn.rows), self.source.share(drawn.present))
        return {"mixture": stems.sum(dim=1), "aim": aims.to(stems.device)}


class PresenceBatches(Dataset[Batch]):
    """Batches to tell presence from: mixtures (B, N), and which parts sound in them (B, 5)."""

    def __init__(self, source: Source, settings: PresenceSettings, *, epoch: int, items: int):
        self.source, self.settings = source, settings
        self.epoch, self.items = epoch, items

    def __len__(self) -> int:
        return -(-self.items // self.settings.batch)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        drawn = presence_plan(
            self.source.segments,
            self.source.seed,
            self.epoch * len(self) + index,
            batch=self.settings.batch,
            whole=self.settings.whole,
        )
        stems = self.source.gather(drawn.plan)[:, 0]
        playing = torch.from_numpy(self.source.share(drawn.present))
        return {"mixture": stems.sum(dim=1), "playing": playing.to(stems.device)}


@dataclass(frozen=True)
class Aims:
    """The Clean vectors of segments, as Direct's pre-training wants them.

    Attributes:
        rows: (S,) the segments, ascending.
        vectors: (S, 5, 128).
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64], present: NDArray[np.bool_]) -> torch.Tensor:
        """Return the aims (B, 640): absent parts' blocks zero, then scaled to length 1.

        A vector of length 1e-3 or less is left as it is, as in the authors' code.
        """
        blocks = self.vectors[np.searchsorted(self.rows, rows)] * present[:, :, None]
        aims = torch.from_numpy(blocks.reshape(len(rows), -1))
        length = aims.norm(dim=1, keepdim=True)
        return torch.where(length > 1e-3, aims / length.clamp(min=1e-3), aims)


class ContrastiveBatches(Dataset[Batch]):
    """Batches in which every part of every mixture comes from another song.

    The last epoch has what is left of all steps.
    """

    def __init__(self, source: Source, settings: BatchSettings, epoch: int) -> None:
        self.source, self.settings, self.epoch = source, settings, epoch

    def __len__(self) -> int:
        settings = self.settings
        left = settings.steps - self.epoch * settings.steps_per_epoch
        return min(settings.steps_per_epoch, left)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        settings = self.settings
        plan = contrastive_plan(
            self.source.segments,
            self.source.seed,
            self.epoch,
            index,
            mixtures=settings.mixtures,
            kept_parts=settings.kept_parts,
            gain_deviation_db=settings.gain_deviation_db,
            twins=settings.twins,
        )
        stems = torch.as_tensor(self.source.bank.gather(plan))[:, 0]  # (B, I, N)
        assert plan.labels is not None
        batch = {
            "mixture": stems.sum(dim=1),
            "labels": torch.from_numpy(plan.labels[:, 0]).to(stems.device),
            "playing": torch.from_numpy(plan.pieces[:, 0] >= 0).to(stems.device),
        }
        if settings.mixtures_with_stems:
            batch["stems"] = stems[: settings.mixtures_with_stems]
        return batch
