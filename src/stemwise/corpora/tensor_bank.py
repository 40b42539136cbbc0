"""A bank wholly on a torch device: training never waits for the disk or for a copy.

Conventions: as in `stemwise.corpora.bank`; what `TensorBank.gather` returns lies on the device.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.corpora.bank import FULL_SCALE, Bank
from stemwise.errors import CorpusError
from stemwise.sampling import Plan

__all__ = ["TensorBank"]

CHUNK_SAMPLES = 1 << 24
SAMPLE_BYTES = 2


class TensorBank:
    """The samples of a bank, or of some of its pieces, as one int16 tensor on a device.

    Positions of pieces are those of the bank, so that one plan is for both. Tables of segments come
    from the bank: ``tensor_bank.bank.segments(...)``.

    Args:
        bank: where the samples come from; copied in chunks of 32 MB.
        device: where they go: 2 bytes per sample.
        splits: hold only the pieces of these splits; None for all.

    Raises:
        CorpusError: the device has too little free memory, or no piece is of these splits.
    """

    def __init__(
        self, bank: Bank, device: torch.device | str, splits: Sequence[str] | None = None
    ) -> None:
        self.bank = bank
        self.device = torch.device(device)
        held = [i for i, p in enumerate(bank.pieces) if splits is None or p.split in splits]
        if not held:
            raise CorpusError(f"the bank {bank.directory} holds no piece of the splits {splits}")
        self.held = np.zeros(len(bank.pieces), bool)
        self.held[held] = True
        self._lengths = np.array([piece.length_samples for piece in bank.pieces])
        self._offsets = np.full((len(bank.pieces), len(bank.pieces[0].offsets)), -1)
        total = 0
        for i in held:
            for part, offset in enumerate(bank.pieces[i].offsets):
                if offset >= 0:
                    self._offsets[i, part] = total
                    total += bank.pieces[i].length_samples
        self._check_memory(total * SAMPLE_BYTES)
        self.audio = torch.empty(total, dtype=torch.int16, device=self.device)
        for i, part in np.argwhere(self._offsets >= 0):
            self._copy(int(i), int(part))

    @property
    def sample_rate_hz(self) -> int:
        """The rate of the bank."""
        return self.bank.sample_rate_hz

    def gather(self, plan: Plan) -> torch.Tensor:
        """Return the stems that `plan` names, (B, V, I, N) float32 on the device; as `Bank.gather`.

        Part by part, windows of the flat tensor are taken by their first sample: no matrix of
        indices is built. Raises `CorpusError` if the plan names a piece that is not held.
        """
        named = plan.pieces >= 0
        if not self.held[plan.pieces[named]].all():
            missing = plan.pieces[named][~self.held[plan.pieces[named]]][0]
            piece = self.bank.pieces[missing]
            raise CorpusError(
                f"{piece.identifier} of the {piece.split} split is not among the "
                f"{self.held.sum()} pieces on {self.device}; name its split for the TensorBank"
            )
        batch, views, parts = plan.pieces.shape
        length = plan.length_samples
        stems = torch.zeros((batch * views, parts, length), device=self.device)
        scale = (10 ** (plan.gains_db / 20) / FULL_SCALE).astype(np.float32).reshape(-1, parts)
        pieces, starts = plan.pieces.reshape(-1, parts), plan.starts.reshape(-1, parts)
        for part in range(parts):
            offsets = np.where(pieces[:, part] >= 0, self._offsets[pieces[:, part], part], -1)
            first = offsets + starts[:, part]  # (B V,) in the flat tensor
            left = self._lengths[pieces[:, part]] - starts[:, part]
            whole = np.flatnonzero((offsets >= 0) & (left >= length))
            if len(whole):
                windows = self.audio.unfold(0, length, 1)[self._tensor(first[whole])]
                factors = self._tensor(scale[whole, part])[:, None]
                stems[self._tensor(whole), part] = windows * factors
            for row in np.flatnonzero((offsets >= 0) & (left < length) & (left > 0)):
                cut = self.audio[first[row] : first[row] + left[row]]  # ends with its piece
                stems[row, part, : left[row]] = cut * float(scale[row, part])
        return stems.reshape(batch, views, parts, length)

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)

    def _copy(self, piece: int, part: int) -> None:
        """Copy one stem from the bank, a chunk at a time."""
        source, target = self.bank.pieces[piece].offsets[part], int(self._offsets[piece, part])
        length = self.bank.pieces[piece].length_samples
        for start in range(0, length, CHUNK_SAMPLES):
            stop = min(start + CHUNK_SAMPLES, length)
            chunk = np.array(self.bank.audio[source + start : source + stop])
            self.audio[target + start : target + stop] = torch.from_numpy(chunk)

    def _check_memory(self, wanted_bytes: int) -> None:
        if self.device.type != "cuda":
            return
        free_bytes, _ = torch.cuda.mem_get_info(self.device)
        if wanted_bytes > free_bytes:
            raise CorpusError(
                f"the bank takes {wanted_bytes / 1e9:.2f} GB and {self.device} has "
                f"{free_bytes / 1e9:.2f} GB free; hold fewer splits, prepare it at a lower rate, "
                "or leave it on disk"
            )
