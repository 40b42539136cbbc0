"""Slow, obvious definitions that the library's fast code is held against."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np


def contrastive_of_part(embedding, labels, temperature):
    """The supervised contrastive loss of one part, read aloud: loops over anchors."""
    losses = []
    for a, label in enumerate(labels):
        if label < 0:
            continue
        others = [b for b in range(len(labels)) if b != a and labels[b] >= 0]
        positives = [b for b in others if labels[b] == label]
        if not positives:
            continue
        dot = {
            b: sum(x * y for x, y in zip(embedding[a], embedding[b], strict=True)) for b in others
        }
        below = math.log(sum(math.exp(dot[b] / temperature) for b in others))
        losses.append(-sum(dot[p] / temperature - below for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def mes_of_part(block, labels, barred, backgrounds, neighbours=5):
    """Accuracy and leakage of 5NN voting, read aloud: loops over queries."""
    right = leaked = 0
    for q in range(len(block)):
        allowed = [g for g in range(len(block)) if barred[g] != barred[q]]
        allowed.sort(key=lambda g: (math.dist(block[q], block[g]), g))
        near = allowed[:neighbours]
        if not near:
            continue
        votes = Counter(labels[g] for g in near)
        winner = min(label for label in votes if votes[label] == max(votes.values()))
        right += winner == labels[q]
        leaked += backgrounds[near[0]] == backgrounds[q] and labels[near[0]] != labels[q]
    return right / len(block), leaked / len(block)


@dataclass(frozen=True)
class Source:
    """Where stems come from: a row of the table of pieces, and a segment; None if none is heard."""

    row: int | None
    place: int


def sources_of_view(segments, pieces, starts, own):
    """Read one mixture, (5,) and (5,): the source of the part `own` and of the four others.

    Asserts that all the others have one source, and that exactly the stems that sound are there.
    """
    row_of = {int(piece): row for row, piece in enumerate(segments.pieces)}
    found = []
    for parts in ([own], [i for i in range(5) if i != own]):
        (start,) = {int(starts[i]) for i in parts}
        heard = {int(pieces[i]) for i in parts} - {-1}
        assert len(heard) <= 1
        assert start % segments.hop_samples == 0
        source = Source(row_of[heard.pop()] if heard else None, start // segments.hop_samples)
        if source.row is not None:
            for i in parts:
                assert (pieces[i] >= 0) == segments.sounding[source.row][source.place, i]
        found.append(source)
    return found


def is_next_but_one(segments, targets, first, second):
    """Is `second` two rows after `first` among the rows where the targets sound, else before?"""
    table = segments.sounding[first.row]
    filtered = [s for s in range(len(table)) if all(table[s, i] for i in targets)]
    here = filtered.index(first.place)
    after = here + 2 < len(filtered)
    return second.place == (filtered[here + 2] if after else filtered[here - 2]) and (
        after or here >= 2
    )


def check_sounding(segments, targets, *sources):
    for source in sources:
        assert all(segments.sounding[source.row][source.place, i] for i in targets)


def check_pseudo_triplet(segments, pieces, starts, targets, near=True):
    """Hold a basic triplet, (3, 5) and (3, 5), against the definition; `targets` is b, or b and a.

    Returns the sources a, n, a2, n2, or None if the others of a mixture are all silent.
    """
    b = targets[0]
    views = [sources_of_view(segments, p, s, b) for p, s in zip(pieces, starts, strict=True)]
    (a2, a), (p2, n), (n2, p) = views
    if any(source.row is None for source in (a, n, p)):
        return None
    assert a.row == p.row  # one piece
    assert a2.row == p2.row
    songs = [int(segments.songs[source.row]) for source in (a, n, a2, n2)]
    assert len(set(songs)) == 4
    (cluster,) = {int(segments.clusters[source.row]) for source in (a, n, a2, n2)}
    assert cluster >= 0
    check_sounding(segments, targets, a, p, n, a2, p2, n2)
    for first, second in ((a, p), (a2, p2)):
        assert first.place != second.place
        if near:
            assert is_next_but_one(segments, targets, first, second)
    return a, n, a2, n2


def check_normal_triplet(segments, pieces, starts, b):
    """Hold a triplet of real pieces, (3, 5) and (3, 5), against the definition."""
    sources = []
    for p, s in zip(pieces, starts, strict=True):
        own, others = sources_of_view(segments, p, s, b)
        assert others.place == own.place
        assert others.row in (own.row, None)
        sources.append(own)
    anchor, positive, negative = sources
    check_sounding(segments, [b], *sources)
    assert anchor.row == positive.row
    assert is_next_but_one(segments, [b], anchor, positive)
    assert segments.songs[anchor.row] != segments.songs[negative.row]
    assert segments.clusters[anchor.row] == segments.clusters[negative.row] >= 0
    return sources


def segments_read_aloud(segments):
    """Yield (piece, first sample, which parts sound) of every segment, in the order of numbers."""
    for piece, table in zip(segments.pieces, segments.sounding, strict=True):
        for s, sounds in enumerate(table):
            yield int(piece), s * segments.hop_samples, tuple(map(bool, sounds))


def direct_loss_of_batch(embedding, targets, margin):
    """Direct's triplet loss read aloud: embedding[item][view][part] is a list of 128 numbers."""
    losses = []
    for item, parts in zip(embedding, targets, strict=True):
        for column, part in enumerate(parts):
            anchor, positive, negative = (view[part] for view in item)
            if column == 1:  # the additional triplet: roles exchanged
                positive, negative = negative, positive
            near = math.sqrt(
                sum((a - p + 1e-6) ** 2 for a, p in zip(anchor, positive, strict=True))
            )
            far = math.sqrt(sum((a - n + 1e-6) ** 2 for a, n in zip(anchor, negative, strict=True)))
            losses.append(max(0.0, near - far + margin))
    return sum(losses) / len(losses)


def triplet_read_aloud(anchor, positive, negative, margin):
    """Equation (1) of the paper over (B, D), read aloud: lists of lists of float64."""

    def distance(x, y):
        return math.sqrt(sum((a - b + 1e-6) ** 2 for a, b in zip(x, y, strict=True)))

    losses = [
        max(0.0, distance(a, p) - distance(a, n) + margin)
        for a, p, n in zip(anchor, positive, negative, strict=True)
    ]
    return sum(losses) / len(losses)


def convolved(x, weight, bias):
    """5 x 5 convolution of (C, F, T) with stride 2 and a border of 2 zeros, place by place."""
    bins, frames = (-(-size // 2) for size in x.shape[1:])
    bordered = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    out = np.empty((len(weight), bins, frames))
    for f in range(bins):
        for t in range(frames):
            patch = bordered[:, 2 * f : 2 * f + 5, 2 * t : 2 * t + 5]
            out[:, f, t] = bias + np.tensordot(weight, patch, axes=3)
    return out


def deconvolved(x, weight, bias, size):
    """Its transpose: every place adds its 5 x 5 patch; the border of 2 is cut off, to `size`."""
    out = np.zeros((weight.shape[1], 2 * x.shape[1] + 4, 2 * x.shape[2] + 4))
    for f in range(x.shape[1]):
        for t in range(x.shape[2]):
            patch = np.tensordot(x[:, f, t], weight, axes=1)
            out[:, 2 * f : 2 * f + 5, 2 * t : 2 * t + 5] += patch
    return out[:, 2 : 2 + size[0], 2 : 2 + size[1]] + bias[:, None, None]


def normalised(x, mean, variance, weight, bias):
    """Batch norm of (C, F, T) by running statistics."""
    scaled = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    return scaled * weight[:, None, None] + bias[:, None, None]


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def standardised_mel_read_aloud(magnitude, filters):
    """Log-mel of (F, T) in dB, floored at 1e-5, with mean 0 and deviation 1, in float64."""
    level_db = 20 * np.log10(np.maximum(filters @ magnitude, 1e-5))
    return (level_db - level_db.mean()) / (level_db.std(ddof=1) + 1e-5)


def pooled_read_aloud(features):
    """Average (C, F, T) over the frames and flatten: the bins of channel 0, then of channel 1."""
    channels, bins, frames = features.shape
    return np.array(
        [
            sum(features[c, f, t] for t in range(frames)) / frames
            for c in range(channels)
            for f in range(bins)
        ]
    )
