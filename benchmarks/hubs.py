"""What putting hubs back does on a split of a corpus: skewness, and do halves find each other.

    python benchmarks/hubs.py [--model compact] [--corpus data/band] [--split valid]

Pieces are cut in halves. Per part, by plain distances and with hub terms (`stemwise.library.hubs`):
the skewness of N_10 and the share of halves in nobody's ten nearest; and the share of halves whose
nearest is the other half of their piece, with the mean of 1 / its rank.
"""

import argparse
from pathlib import Path

import numpy as np

from stemwise.corpora.bank import bank_of
from stemwise.library.distances import Space, piece_distances
from stemwise.library.held_out import Mixture, describe_mixtures
from stemwise.library.hubs import hub_terms, hubness
from stemwise.library.query import stored_query
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS


def halves(bank, split, model):
    """Yield both halves of each piece, as far as they are whole segments."""
    size = round(model.segment_seconds * model.sample_rate_hz)
    for k, piece in enumerate(bank.pieces):
        segments = piece.length_samples // size
        if piece.split == split and segments >= 2:
            wave = sum(bank.stem(k, i) for i in range(len(PARTS)))[: segments * size]
            middle = segments // 2 * size
            yield Mixture(f"{piece.identifier} a", piece.identifier, wave[:middle])
            yield Mixture(f"{piece.identifier} b", piece.identifier, wave[middle:])


def found_again(space, songs, part):
    """Return the share of halves whose nearest is their other half, and the mean of 1 / rank."""
    there = np.flatnonzero(space.vectors.counts(part))
    ranks = []
    for k in there:
        query = stored_query(space.vectors, int(k), np.eye(len(PARTS))[part])
        apart = piece_distances(space, query.only(query.sounding[:, part]), there)
        other = (songs[there] == songs[k]) & (there != k)
        if other.any():
            ranks.append(1 + np.sum(apart[there != k] < apart[other][0]))
    return np.mean(np.array(ranks) == 1), np.mean(1 / np.array(ranks))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="compact")
    parser.add_argument("--corpus", type=Path, default=Path("data/band"))
    parser.add_argument("--split", default="valid")
    options = parser.parse_args()
    model = load_model(options.model)
    bank = bank_of(options.corpus, model.sample_rate_hz)
    vectors, songs = describe_mixtures(model, halves(bank, options.split, model))
    terms = hub_terms(vectors, np.arange(len(PARTS)), None)
    print(f"{len(songs)} halves of the split {options.split}; plain → with hubs put back")
    rows = []
    for part in PARTS:
        row = []
        for space in (Space.plain(vectors), Space(vectors, terms)):
            one = hubness(space, part)
            row.append([one.skewness, one.never, *found_again(space, songs, PARTS.index(part))])
        rows.append(row)
        tell(part, row)
    tell("mean", np.mean(rows, axis=0))


def tell(name, row):
    (skew, never, first, rank), (skew_after, never_after, first_after, rank_after) = row
    print(f"{name:10} skewness {skew:.2f} → {skew_after:.2f}, never found {never:.1%} → "
          f"{never_after:.1%}, other half first {first:.3f} → {first_after:.3f}, "
          f"1/rank {rank:.3f} → {rank_after:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
