"""The protocols of the scores: which mixtures they ask about.

By name:

- **normal**: MES-Normal over all segments of real pieces. A segment is a query of a part that
  sounds in it by rule A.
- **slakh-50**: MES-Pseudo as in the paper, over 50 pseudo-pieces of Slakh2100's test split: 10
  target songs over 5 backgrounds each, of which the first is the song itself. All 50 are one
  gallery, and no background occurs twice. The paper's list is not public. Choice: the list of 40
  is extended to 50 by `stemwise.corpora.slakh.pseudo_pieces`, and silence is as there.
- **slakh-40**: the list that the authors published with their code: 10 target songs over 4
  backgrounds each, the song itself and three songs of its tempo cluster, in one gallery. A segment
  counts where the target sounds by rule B (mean power), as in their lists. On the whole of
  Slakh2100 there should be as many queries as ``corpora.slakh.protocol().query_segments`` says.
- **slakh-10x10**: the authors' full cross of 10 test songs of one tempo cluster, themselves
  included: 100 pseudo-pieces in one gallery, 10 segments of each at most. Harder, for every
  background meets every target. Choice: the first 10 segments in which the target sounds by rule
  B; which ones the authors took is not known.
- **pseudo-10x5**: MES-Pseudo for any corpus. The split's songs are cut into groups of 15
  neighbours in tempo; in each group 10 targets meet 5 backgrounds, each with each, which makes 50
  pseudo-pieces per part and group, one gallery for each group. A segment counts where the target
  sounds by rule A. The score is the mean over all queries of all groups; its spread is over the
  groups. Departure: pseudo-pieces share backgrounds, which is harder, since the nearest wrong
  answer has the same background at the same time.

Conventions: as in `stemwise.sampling`; plans here have V = 1 and no gains, so that stems sum to the
mixture. Rules A and B, "range" and "power", are those of `stemwise.audio`. A gallery is what the
nearest neighbours of its segments are sought in; its labels are the songs of the target.

References: section IV-B of the paper; what is scored is said in `stemwise.scores.mes`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.sampling import Plan, Segments, Stream, draw_subset, generator

__all__ = [
    "Pseudo", "Pseudo10x5", "PseudoListed", "cross_plan", "listed_plan", "normal_plan", "sdr_plan",
    "tempo_groups",
]  # fmt: skip

TARGETS = 10
BACKGROUNDS = 5


@dataclass(frozen=True)
class Pseudo:
    """The pseudo-pieces of one part in one gallery, as a plan with its labels.

    Attributes:
        plan: (B, 1, I); one mixture per segment of each pseudo-piece.
        targets: (B,) song of the target part; the label.
        backgrounds: (B,) song of the other four parts.
    """

    plan: Plan
    targets: NDArray[np.int64]
    backgrounds: NDArray[np.int64]

    @property
    def pieces(self) -> NDArray[np.int64]:
        """(B,) integer of the pseudo-piece of each segment."""
        songs = int(self.backgrounds.max(initial=0)) + 1
        return self.targets * songs + self.backgrounds

    @property
    def shares_backgrounds(self) -> bool:
        """Whether some background meets two targets; if none does, no background can leak."""
        return len(np.unique(self.backgrounds)) < len(np.unique(self.pieces))

    def first(self, count: int | None) -> "Pseudo":
        """Return the first `count` segments of each pseudo-piece; all, for None."""
        if count is None:
            return self
        _, coded, sizes = np.unique(self.pieces, return_inverse=True, return_counts=True)
        nth = np.empty(len(coded), np.int64)  # of each segment within its pseudo-piece
        nth[np.argsort(coded, kind="stable")] = np.concatenate([np.arange(n) for n in (0, *sizes)])
        keep, plan = nth < count, self.plan
        return Pseudo(
            Plan(plan.pieces[keep], plan.starts[keep], plan.gains_db[keep], plan.length_samples),
            self.targets[keep],
            self.backgrounds[keep],
        )


@dataclass(frozen=True)
class Pseudo10x5:
    """How much of pseudo-10x5 to run; the defaults are the whole of it.

    Attributes:
        groups: groups of 15 songs at most; None for all that the split holds.
        segments_per_piece: segments of each pseudo-piece at most.
        seed: of the roles of the songs within their group.
    """

    groups: int | None = None
    segments_per_piece: int | None = None
    seed: int = 0
    name: ClassVar[str] = "pseudo-10x5"
    rule: ClassVar[Literal["range", "power"]] = "range"

    def galleries(self, segments: Segments, part: int) -> Iterator[Pseudo]:
        """Yield the pseudo-pieces of a part, group by group.

        Raises:
            CorpusError: the split holds fewer than 15 songs.
        """
        groups = tempo_groups(segments, TARGETS + BACKGROUNDS, self.seed)[: self.groups]
        if not groups:
            raise CorpusError(
                f"MES-Pseudo needs at least {TARGETS + BACKGROUNDS} songs in the split, "
                f"but it holds {len(set(segments.songs))}"
            )
        for group in groups:
            yield cross_plan(segments, part, group, TARGETS).first(self.segments_per_piece)


@dataclass(frozen=True)
class PseudoListed:
    """Pseudo-pieces by a list: slakh-50, slakh-40 and slakh-10x10.

    Attributes:
        name: of the protocol.
        backgrounds: position in the bank of a target's piece to the positions of those that lend
            the other four parts.
        segments_per_piece: segments of each pseudo-piece at most.
    """

    name: str
    backgrounds: Mapping[int, Sequence[int]]
    segments_per_piece: int | None = None
    rule: ClassVar[Literal["range", "power"]] = "power"

    def galleries(self, segments: Segments, part: int) -> Iterator[Pseudo]:
        """Yield all pseudo-pieces of a part at once."""
        row_of = {int(piece): row for row, piece in enumerate(segments.pieces)}
        rows = {row_of[t]: [row_of[other] for other in b] for t, b in self.backgrounds.items()}
        yield listed_plan(segments, part, rows).first(self.segments_per_piece)


def tempo_groups(segments: Segments, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Return groups of `size` songs of neighbouring tempo, as rows, one piece per song.

    Songs of unknown tempo (nan) come last. The order within a group is drawn from `seed`; the songs
    that fill no group are left out.
    """
    rng = np.random.default_rng(seed)
    _, rows = np.unique(segments.songs, return_index=True)
    rows = rows[np.lexsort((rows, segments.tempos_bpm[rows]))]
    return [rng.permutation(rows[i : i + size]) for i in range(0, len(rows) - size + 1, size)]


def listed_plan(segments: Segments, part: int, backgrounds: Mapping[int, Sequence[int]]) -> Pseudo:
    """Make pseudo-pieces by a list: the `part` of each target over each of its backgrounds.

    `backgrounds` maps the row of a target's piece to the rows of the pieces that give it the other
    four parts; the target itself as background is the real piece. All stems of a mixture are taken
    at the same segment of their piece (as in the authors' published code); a segment counts if the
    target part sounds in it and the background reaches as far. No stem is left out.
    """
    pieces, starts, labels = [], [], []
    for target, others in backgrounds.items():
        for background in others:
            length = min(len(segments.sounding[target]), len(segments.sounding[background]))
            for s in np.flatnonzero(segments.sounding[target][:length, part]):
                row = np.full(len(PARTS), segments.pieces[background])
                row[part] = segments.pieces[target]
                pieces.append(row)
                starts.append(np.full(len(PARTS), s * segments.hop_samples))
                labels.append((segments.songs[target], segments.songs[background]))
    shape = (-1, 1, len(PARTS))
    where = np.array(pieces, np.int64).reshape(shape)
    plan = Plan(
        where, np.array(starts, np.int64).reshape(shape), np.zeros(where.shape),
        segments.length_samples,
    )  # fmt: skip
    songs = np.array(labels, np.int64).reshape(-1, 2)
    return Pseudo(plan, songs[:, 0], songs[:, 1])


def cross_plan(segments: Segments, part: int, group: NDArray[np.int64], targets: int) -> Pseudo:
    """Cross the `part` of the first `targets` songs of `group` with the rest of the other songs.

    Every target meets every background: T x (G - T) pseudo-pieces, as `listed_plan` makes them.
    """
    others = group[targets:].tolist()
    return listed_plan(segments, part, {int(target): others for target in group[:targets]})


def sdr_plan(segments: Segments, seed: int, count: int = 1000) -> tuple[Plan, NDArray[np.bool_]]:
    """Return the first `count` segments in which all parts sound, each with a subset of its stems.

    The subset is uniform over the 31 that are not empty, and depends on `seed` and the segment
    alone. Choice: the authors' published code draws a random subset and does not fix which.

    Returns:
        The plan (B, 1, I), B at most `count`, -1 for parts left out; and present (B, I), true for
        parts that are heard: only these are scored.
    """
    rows = np.flatnonzero(segments.table.all(axis=1))[:count]
    present = np.zeros((len(rows), len(PARTS)), bool)
    for i, row in enumerate(rows.tolist()):
        present[i] = draw_subset(segments.table[row], generator(Stream.SDR, seed, row))
    pieces = np.where(present, segments.pieces[segments.rows[rows]][:, None], -1)[:, None]
    starts = np.repeat(segments.starts[rows][:, None, None], len(PARTS), axis=2)
    return Plan(pieces, starts, np.zeros(pieces.shape), segments.length_samples), present


def normal_plan(segments: Segments) -> Plan:
    """Return every segment of every piece with all of its parts, in order, (B, 1, I)."""
    shape = (len(segments.rows), 1, len(PARTS))
    return Plan(
        np.broadcast_to(segments.pieces[segments.rows][:, None, None], shape),
        np.broadcast_to(segments.starts[:, None, None], shape),
        np.zeros(shape),
        segments.length_samples,
    )
