"""The stage of Direct-Mask that fits the extractors' last layers in closed form, all else at rest.

Contrast compares some forty mixtures at a time. Here thousands of mixtures of training songs are
read first, each stem over several backgrounds, and the last layer then becomes the linear map that
tells pieces apart best against all that changes within a piece: background, moment, equaliser and
speed. It is the usual back end of speaker verification.

Departure: nothing of this is in the paper; see docs/method.md. Conventions: W numbers that an
extractor pools, D = 128.

References: Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006; Dehak et al.,
"Front-end factor analysis for speaker verification", IEEE TASLP 2011 (LDA, WCCN).
"""

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from stemwise.models.direct_mask import DirectMask
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.recipe import HeadsSettings
from stemwise.sampling import contrastive_plan
from stemwise.training.augmentation import equaliser, played
from stemwise.training.batches import Source

__all__ = ["Scatter", "fit_heads"]

BATCH = 16
ALL_PARTS = (0.0, 0.0, 0.0, 0.0, 1.0)


class Scatter:
    """How the numbers (N, W) of labelled items vary, within labels and between them.

    Memory grows with the labels, not with the items.
    """

    def __init__(self, labels: int, width: int) -> None:
        self.counts = np.zeros(labels)
        self.sums = np.zeros((labels, width))
        self.squares = np.zeros((width, width))

    def add(self, numbers: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Count in items (N, W) with labels (N,), from 0."""
        exact = numbers.astype(np.float64)
        np.add.at(self.counts, labels, 1)
        np.add.at(self.sums, labels, exact)
        self.squares += exact.T @ exact

    def projection(
        self, dimensions: int, shrinkage: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights (D, W) and bias (D,) of the map to numbers in which labels are told best.

        The axes solve S_b v = l S_w v, with the `dimensions` largest l, at unit variance within
        labels; each is scaled by l / (1 + l), which turns an item's place on it into what is to be
        expected of its label (the posterior mean of PLDA). `shrinkage` times the mean variance is
        added to every variance of S_w, which too few items leave too small.
        """
        heard = self.counts > 0
        counts, sums = self.counts[heard], self.sums[heard]
        total = counts.sum()
        mean = sums.sum(axis=0) / total
        means = sums / counts[:, None]
        within = (self.squares - means.T @ sums) / total
        between = (means - mean).T * counts @ (means - mean) / total
        within += shrinkage * np.diag(within).mean() * np.eye(len(within))
        width = len(within)
        found, axes = scipy.linalg.eigh(
            between, within, subset_by_index=(max(0, width - dimensions), width - 1)
        )
        found = found.clip(min=0)
        weights = np.zeros((dimensions, width))
        weights[: len(found)] = (axes * (found / (1 + found))).T[::-1]
        return weights, -weights @ mean


def fit_heads(
    network: DirectMask, source: Source, settings: HeadsSettings, seed: int, *, show: bool = False
) -> None:
    """Fit the last layer of every extractor; it begins anew if it is stopped, and takes minutes.

    Args:
        network: trained but for this; in single precision.
        source: training songs, in segments as long as in use.
        settings: how much is read.
        seed: of which stem meets which.
        show: a bar.
    """
    network.eval()
    device = next(network.parameters()).device
    chance = torch.Generator().manual_seed(seed)
    pieces = int(source.segments.pieces.max()) + 1
    scatters = [Scatter(pieces, reader.head.in_features) for reader in network.readers]
    parts = torch.arange(len(PARTS))
    rounds = settings.draws * settings.heard_in
    with tqdm(total=rounds * settings.mixtures, desc="Heads", disable=not show) as bar:
        for draw in range(settings.draws):
            plan = contrastive_plan(
                source.segments, source.seed, 0, draw, mixtures=settings.mixtures,
                kept_parts=ALL_PARTS, gain_deviation_db=settings.gain_deviation_db,
            )  # fmt: skip
            stems = torch.as_tensor(source.bank.gather(plan))[:, 0]  # (B, I, N)
            labels = torch.from_numpy(plan.pieces[:, 0])
            for _ in range(settings.heard_in):
                dealt = torch.rand(labels.shape, generator=chance).argsort(dim=0)
                for places in torch.split(dealt, BATCH):
                    with torch.inference_mode():
                        mixture = stems[places, parts].sum(dim=1).to(device)
                        mel = network.see(played(mixture, settings.speed_semitones, chance))
                        gains = equaliser(mel, settings.eq_deviation_db, chance)
                        pooled = network.pooled(mel * gains)
                    for part, numbers in enumerate(pooled.float().cpu().unbind(1)):
                        own = labels[places[:, part], part]
                        scatters[part].add(numbers.numpy(), own.numpy())
                    bar.update(len(places))
    for reader, scatter in zip(network.readers, scatters, strict=True):
        weights, bias = scatter.projection(BLOCK_DIMENSIONS, settings.shrinkage)
        with torch.no_grad():
            reader.head.weight.copy_(torch.from_numpy(weights))
            reader.head.bias.copy_(torch.from_numpy(bias))
