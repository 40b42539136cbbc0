"""Slow, obvious definitions that the library's fast code is held against."""

import math
from collections import Counter


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
