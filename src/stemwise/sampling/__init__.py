"""Plans: which stems, from where, make a batch.

A plan is integers only and is drawn without touching audio. It is a pure function of
(seed, epoch, index): whichever worker draws it, on whichever machine, it is the same.

Conventions: B batch, V view, I instrument part. A segment is given by the position of its piece in
the bank and its first sample.
"""

from stemwise.sampling.contrast import contrastive_plan
from stemwise.sampling.plan import Plan, Segments, tempo_clusters

__all__ = ["Plan", "Segments", "contrastive_plan", "tempo_clusters"]
