"""Where a run trains: bank, device, processes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stemwise.corpora.bank import Bank
from stemwise.corpora.tensor_bank import TensorBank
from stemwise.errors import CorpusError, ModelError, UsageError
from stemwise.models.direct import DirectReconst
from stemwise.sampling import Segments
from stemwise.training.batches import VALIDATION_SEED, Gatherer, Source

__all__ = ["Setting", "training_bank"]

MEMORY_PLACES = ("disk", "memory", "device")


@dataclass(frozen=True)
class Setting:
    """Where a run trains; the processes are those that torchrun tells of.

    Attributes:
        bank: the corpus, in files.
        gatherer: where training reads its sound.
        device: "auto", "cpu" or "cuda".
        workers: processes that prepare batches beside this one.
        progress: show bars.
    """

    bank: Bank
    gatherer: Gatherer
    device: str = "auto"
    workers: int = 0
    progress: bool = True

    @property
    def rank(self) -> int:
        """Number of this process, over all nodes."""
        return int(os.environ.get("RANK", "0"))

    @property
    def world(self) -> int:
        """Number of processes, over all nodes."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def cuda(self) -> bool:
        """Train on a CUDA device?"""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ModelError("no CUDA device is to be seen; train with --device cpu")
        return self.device != "cpu" and torch.cuda.is_available()

    @property
    def place(self) -> torch.device:
        """The device of this process."""
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", local) if self.cuda else torch.device("cpu")

    def source(self, segments: Segments, split: str, seed: int) -> Source:
        """Return where the batches of a split come from."""
        on_device = isinstance(self.gatherer, TensorBank)
        bank = self.bank if on_device and split != "train" else self.gatherer
        seed += VALIDATION_SEED if split == "valid" else 0
        return Source(bank, segments, seed, self.rank, self.world)

    def synchronised(self, network: torch.nn.Module) -> torch.nn.Module:
        """Return `network` with batch statistics over all CUDA processes, but for the decoders.

        A decoder runs only where a process has clips of its part: the others would wait for ever.
        """
        convert: Any = torch.nn.SyncBatchNorm.convert_sync_batchnorm
        if not self.cuda or self.world == 1:
            return network
        if isinstance(network, DirectReconst):
            network.encoder = convert(network.encoder)
            return network
        return convert(network)  # type: ignore[no-any-return]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()


def available_bytes() -> int:
    """Return the memory that can be had without swapping; what only caches files counts as free."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kibibytes) * 1024


def training_bank(bank: Bank, place: str, device: str) -> Gatherer:
    """Return what training reads its sound from.

    Args:
        bank: as prepared.
        place: "disk" (memory-mapped), "memory" (read whole) or "device" (its training pieces on
            the device of this process; validation still reads from disk).
        device: "auto", "cpu" or "cuda".

    Raises:
        CorpusError: the memory will not do.
        UsageError: an unknown place.
    """
    if place not in MEMORY_PLACES:
        raise UsageError(f"unknown place {place!r}; choose from {', '.join(MEMORY_PLACES)}")
    if place == "device":
        return TensorBank(bank, Setting(bank, bank, device).place, ("train",))
    if place == "memory":
        free = available_bytes()
        if bank.audio.nbytes > free:
            raise CorpusError(
                f"the bank takes {bank.audio.nbytes / 1e9:.1f} GB of memory, but "
                f"{free / 1e9:.1f} GB are free; leave it on disk with --bank disk"
            )
        return bank.resident()
    return bank
