"""ABX agreement: does a model find the clip nearer that listeners find more alike?

**Definition.** Listeners heard a reference X and two clips A and B, and said which is more alike to
X: A+ or A-, B+ or B-, or NA. A model answers A where

    |e_X - e_A| < |e_X - e_B|,

by Euclidean distance in the block of the part that was played. A+ and A- count as 2, B+ and B- as
-2; the listeners' answer is A where the mean of at least three valid answers is above 1, and B
where it is below -1: over three quarters agree. Other triplets have no majority and are left out.
The score is the share of triplets where model and majority agree; chance is 0.5. XAB and XYC
triplets are scored apart (`stemwise.corpora.abx` says what they are). Plus and minus play no role.

**Choice.** Equal distances count as half right, so that a model that tells nothing apart scores
chance; by the inequality alone it would answer B.

**Conventions.** S triplets, D dimensions. Distances in double precision from the differences.

References: Hashizume et al., "Investigation of Perceptual Music Similarity Focusing on Each
Instrumental Part", ICASSP 2025, arXiv 2502.02138 (the listening test); Imamura et al., "Music
Similarity Representation Learning Focusing on Individual Instruments with Source Separation and
Human Preference", arXiv 2503.18486 (the score).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = ["Agreement", "agreed", "agreement", "majority"]

VALUES = {"A+": 2, "A-": 2, "B+": -2, "B-": -2}
NOT_VALID = ("NA", "N/A")
VALID_ANSWERS = 3  # at least
THRESHOLD = 1  # that the mean must exceed: of four answers, three are not enough

Side = Literal["A", "B"]


@dataclass(frozen=True)
class Agreement:
    """Agreement with listeners.

    Attributes:
        share: of the triplets with a majority, in 0..1; None if there is none.
        triplets: with a majority.
        ties: of these, with equal distances.
    """

    share: float | None
    triplets: int
    ties: int


def majority(answers: Sequence[str]) -> Side | None:
    """Return the side that over three quarters of at least three valid answers took, or None.

    Args:
        answers: all listeners' to one triplet, by one criterion: A+, A-, B+, B-, NA or N/A.

    Raises:
        ValueError: another answer.
    """
    unknown = set(answers) - set(VALUES) - set(NOT_VALID)
    if unknown:
        raise ValueError(f"need answers A+, A-, B+, B-, NA or N/A, got {sorted(unknown)}")
    values = [VALUES[answer] for answer in answers if answer in VALUES]
    if len(values) < VALID_ANSWERS:
        return None
    mean = sum(values) / len(values)
    if abs(mean) <= THRESHOLD:
        return None
    return "A" if mean > 0 else "B"


def agreed(
    *,
    reference: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    majorities: Sequence[Side | None],
) -> torch.Tensor:
    """Return (S,) float64, whether the model sides with the majority of each triplet.

    1 where it does, 0 where it does not, 0.5 where its distances are equal, nan where there is no
    majority: numbers for `stemwise.scores.interval`.

    Args:
        reference: (S, D) one part's block of every X.
        a: (S, D) the same of every A.
        b: (S, D) the same of every B.
        majorities: S results of `majority`.

    Raises:
        ValueError: shapes that differ, an embedding that is not finite, or another majority.
    """
    shapes = [tuple(x.shape) for x in (reference, a, b)]
    if len(set(shapes)) > 1 or reference.ndim != 2 or len(majorities) != len(reference):
        raise ValueError(f"need three (S, D) and S majorities, got {shapes}, {len(majorities)}")
    if not set(majorities) <= {"A", "B", None}:
        raise ValueError(f"need majorities A, B or None, got {set(majorities)}")
    x = reference.double()
    to_a, to_b = ((x - y.double()).square().sum(dim=1).sqrt() for y in (a, b))
    nearer = to_b - to_a  # above 0: A is nearer
    if not nearer.isfinite().all():
        raise ValueError("need embeddings of finite numbers, got nan or infinity")
    signs = [{"A": 1.0, "B": -1.0, None: torch.nan}[side] for side in majorities]
    theirs = torch.tensor(signs, dtype=torch.float64, device=x.device)
    return (1 + nearer.sign() * theirs) / 2


def agreement(
    *,
    reference: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    majorities: Sequence[Side | None],
) -> Agreement:
    """Return the score of one part; arguments and errors as `agreed`."""
    answers = agreed(reference=reference, a=a, b=b, majorities=majorities)
    answers = answers[~answers.isnan()]
    share = answers.mean().item() if len(answers) else None
    return Agreement(share, len(answers), int((answers == 0.5).sum()))
