"""Plans: which stems, from where, make a batch.

A plan is integers only and is drawn without touching audio. It is a pure function of
(seed, epoch, index): whichever worker draws it, on whichever machine, it is the same.

Conventions: B batch, V view, I instrument part, K triplets made of one item. A segment is given by
the position of its piece in the bank and its first sample.
"""

from stemwise.sampling.contrast import contrastive_plan
from stemwise.sampling.plan import Plan, Segments, Stream, generator, shuffled, tempo_clusters
from stemwise.sampling.subsets import Subsets, draw_subset, presence_plan, subset_plan, subset_rows
from stemwise.sampling.triplets import Triplets, listed_triplets, normal_triplets, pseudo_triplets

__all__ = [
    "Plan", "Segments", "Stream", "Subsets", "Triplets", "contrastive_plan", "draw_subset",
    "generator", "listed_triplets", "normal_triplets", "presence_plan", "pseudo_triplets",
    "shuffled", "subset_plan", "subset_rows", "tempo_clusters",
]  # fmt: skip
