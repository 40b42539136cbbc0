"""How fast and how complete search is: exact in memory, by index, and a flat index of faiss.

    python benchmarks/search.py [--segments 10000 100000] [--queries 40] [--bits 5]

Vectors are made: per part, each piece of 25 segments belongs to one of many clusters; the five
parts' clusters are drawn independently, which is harder than music. Queries are one segment: "own"
are those of a stored piece, moved a little; "mixed" take each part from another piece. Latencies
are of `stemwise.library.search.search`, with the hub terms of a large catalogue; ratios are within
one run. Recall is the share of the exact ten nearest pieces that the index finds. faiss, if it is
installed, compares the same weighted dot products over segments, without passages or silence.
"""

import argparse
import tempfile
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa

from stemwise.library.candidates import build_indexes
from stemwise.library.distances import Space
from stemwise.library.hubs import hub_terms
from stemwise.library.query import Query
from stemwise.library.search import Question, search
from stemwise.library.selection import Limits
from stemwise.library.tables import SCHEMAS, Piece
from stemwise.library.vectors import load_vectors
from stemwise.parts import PARTS

try:
    import faiss
except ModuleNotFoundError:
    faiss = None

PER_PIECE = 25
STRUCTURE = 64
KINDS = {
    "own, one part": ("own", [1, 0, 0, 0, 0]),
    "own, five parts": ("own", [1, 1, 1, 1, 1]),
    "mixed, two parts": ("mixed", [0.5, 0.5, 0, 0, 0]),
    "mixed, three parts": ("mixed", [0.5, 0.3, 0.2, 0, 0]),
    "mixed, five parts": ("mixed", [1, 1, 1, 1, 1]),
}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def made_part(rng, pieces, clusters):
    """Return (S, 128): pieces around the centres of clusters, segments around their piece."""
    centres = rng.standard_normal((clusters, STRUCTURE), dtype=np.float32)
    spread = rng.standard_normal((STRUCTURE, 128), dtype=np.float32) / np.sqrt(STRUCTURE)
    piece = centres[rng.integers(0, clusters, pieces)]
    piece = piece + 0.5 * rng.standard_normal(piece.shape, dtype=np.float32)
    segment = piece.repeat(PER_PIECE, axis=0) @ spread
    segment += 0.4 * rng.standard_normal(segment.shape, dtype=np.float32)
    return unit(segment).astype(np.float16)


def made_catalogue(folder, segments, seed=0):
    """Write a table of segments; return the pieces and a handle on it."""
    rng = np.random.default_rng(seed)
    count = segments // PER_PIECE
    blocks = [made_part(rng, count, max(20, count // 15)) for _ in PARTS]
    presence = np.where(rng.random((count * PER_PIECE, 5)) < 0.85, 0.9, 0.1).astype(np.float32)
    names = [f"{k:032x}" for k in range(count)]
    table = lancedb.connect(folder).create_table("segments", schema=SCHEMAS["segments"])
    for first in range(0, count, 4000):
        last = min(first + 4000, count)
        rows = slice(first * PER_PIECE, last * PER_PIECE)
        columns = {
            "content": pa.array(np.repeat(names[first:last], PER_PIECE)),
            "start_seconds": pa.array(np.tile(10.0 * np.arange(PER_PIECE), last - first)),
            "level_db": pa.array(np.zeros((last - first) * PER_PIECE, np.float32)),
        }
        for i, part in enumerate(PARTS):
            flat = pa.array(blocks[i][rows].reshape(-1))
            columns[part] = pa.FixedSizeListArray.from_arrays(flat, 128)
            columns[f"presence_{part}"] = pa.array(presence[rows, i])
        table.add(pa.table(columns, schema=SCHEMAS["segments"]))
    table.optimize()
    # durations far apart, so that no two are compared as the same recording
    pieces = [
        Piece(Path(f"/m/{k}"), names[k], 1, 1, 10.0 * k, PER_PIECE, str(k), "", "", None, "", None,
              missing=False)
        for k in range(count)
    ]  # fmt: skip
    return pieces, table


def made_query(rng, vectors, kind, weights):
    rows = rng.integers(0, len(vectors.owners), 5)
    if kind == "own":
        rows[:] = rows[0]
    found = np.stack([vectors.take(i, rows[i : i + 1])[0] for i in range(5)])
    moved = unit(found + 0.03 * rng.standard_normal(found.shape))
    return Query("made", "", 10.0, np.zeros(1), moved[None].astype(np.float32),
                 np.ones((1, 5), bool), np.array(weights, float))  # fmt: skip


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def faiss_seconds(vectors, queries):
    """Return the median time of a flat search over the wanted parts of all segments."""
    parts = np.flatnonzero(queries[0].weights)
    index = faiss.IndexFlatIP(128 * len(parts))
    for first in range(0, len(vectors.owners), 50_000):
        rows = slice(first, first + 50_000)
        index.add(np.concatenate([vectors.block(i)[rows] for i in parts], axis=1))
    joined = [
        np.concatenate([q.weights[i] * q.embeddings[:, i] for i in parts], axis=1).astype(
            np.float32
        )
        for q in queries
    ]
    return float(np.median([timed(lambda x=x: index.search(x, 100))[0] for x in joined]))


def run(segments, count, bits):
    with tempfile.TemporaryDirectory() as folder:
        writing, (pieces, table) = timed(lambda: made_catalogue(folder, segments))
        building, _ = timed(lambda: build_indexes(table, bits=bits))
        loading, vectors = timed(lambda: load_vectors(pieces, table))
        scaling, terms = timed(lambda: hub_terms(vectors, np.arange(5), None))
        print(f"\n{segments} segments, {len(pieces)} pieces, {bits} bits:"
              f" written in {writing:.1f} s, indexes built in {building:.1f} s,"
              f" opened in {loading:.2f} s,"
              f" hub terms in {scaling:.1f} s")  # fmt: skip
        print(f"{'query':20}{'exact p50':>10}{'p99':>8}{'index p50':>11}{'p99':>8}{'recall':>8}"
              f"{'index/exact':>13}{'faiss/exact':>13}")  # fmt: skip
        for name, (kind, weights) in KINDS.items():
            rng = np.random.default_rng(1)
            queries = [made_query(rng, vectors, kind, weights) for _ in range(count)]
            questions = [Question(Space(vectors, terms), (query,)) for query in queries]
            seconds, found = {}, {}
            for exact in (True, False):
                for question in questions[:2]:  # warm up
                    search(question, Limits(10), exact=exact)
                if not exact:  # what exact search keeps must not help the index
                    vectors._blocks.clear()
                runs = [
                    timed(lambda q=q, e=exact: search(q, Limits(10), exact=e)) for q in questions
                ]
                seconds[exact] = 1000 * np.percentile([taken for taken, _ in runs], [50, 99])
                found[exact] = [{match.piece.content for match in r.matches} for _, r in runs]
            recall = np.mean([len(a & b) / len(a) for a, b in zip(*found.values(), strict=True)])
            flat = 1000 * faiss_seconds(vectors, queries) if faiss else np.nan
            (e50, e99), (i50, i99) = seconds[True], seconds[False]
            print(f"{name:20}{e50:7.1f} ms{e99:8.1f}{i50:8.1f} ms{i99:8.1f}{recall:8.3f}"
                  f"{i50 / e50:13.2f}{flat / e50:13.2f}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--bits", type=int, default=5)
    options = parser.parse_args()
    for segments in options.segments:
        run(segments, options.queries, options.bits)


if __name__ == "__main__":
    main()
