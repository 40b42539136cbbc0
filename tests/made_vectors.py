"""Made vectors of made pieces, and queries to them; no catalogue, no model."""

from pathlib import Path

import numpy as np

from stemwise.library.distances import Space
from stemwise.library.query import Query
from stemwise.library.tables import Piece
from stemwise.library.vectors import vectors_in_memory


def piece(k, **fields):
    known = {
        "path": Path(f"/m/{k}.wav"), "content": f"{k:012x}" + "0" * 20, "size_bytes": 1,
        "mtime_ns": 1, "duration_seconds": 100.0 * (k + 1), "segments": 1, "title": f"song {k}",
        "artist": "", "album": "", "year": None, "genre": "", "bpm": None, "missing": False,
    }  # fmt: skip
    return Piece(**known | fields)


def unit(rng, *shape):
    x = rng.standard_normal((*shape, 128)).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def made(seed, pieces=7, most=6, share=0.6):
    """Return vectors of random pieces of 1 to `most` segments."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most + 1, pieces)
    return vectors_in_memory(
        [piece(k) for k in range(pieces)],
        [10.0 * np.arange(c) for c in counts],
        [unit(rng, c, 5) for c in counts],
        [np.where(rng.random((c, 5)) < share, 0.9, 0.1).astype(np.float32) for c in counts],
    )


def made_space(seed, hubs=0.2, **options):
    """Return a space of random pieces with random hub terms."""
    vectors = made(seed, **options)
    rng = np.random.default_rng(seed + 1)
    terms = hubs * rng.standard_normal((len(vectors.pieces), 5))
    return Space(vectors, terms.astype(np.float32))


def made_query(seed, weights, segments=4, share=0.6, away=False):
    """Return a query of random segments, in each of which a wanted part sounds."""
    rng = np.random.default_rng(seed + 7)
    weights = np.array(weights, float)
    sounding = rng.random((segments, 5)) < share
    sounding[0] = True
    asks = (sounding & (weights > 0)).any(axis=1)
    query = Query(
        f"q{seed}", "none", 9.0, 10.0 * np.arange(segments), unit(rng, segments, 5), sounding,
        weights, away,
    )  # fmt: skip
    return query.only(asks)


def slow_distance(space, query, k):
    """D between `query` and piece `k` as the definition says, in plain loops, with passages."""
    vectors = space.vectors
    rows = range(vectors.offsets[k], vectors.offsets[k + 1])
    nearest = []
    for s in range(len(query.start_seconds)):
        asked = [p for p in range(5) if query.weights[p] > 0 and query.sounding[s, p]]
        best = None
        for t in rows:
            total = 0.0
            for p in asked:
                apart = 4.0
                if vectors.presence[t, p] >= 0.5:
                    squared = float(((query.embeddings[s, p] - vectors.block(p)[t]) ** 2).sum())
                    apart = min(4.0, squared - float(space.hub_terms[k, p]))
                total += query.weights[p] * apart
            total /= sum(query.weights[p] for p in asked)
            if best is None or total < best[0] - 1e-6:
                best = (total, t)
        nearest.append(best)
    return sum(total for total, _ in nearest) / len(nearest), [t for _, t in nearest]
