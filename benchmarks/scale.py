"""Search as it grows: recall and latency of one part's index, far beyond memory's comfort.

    python benchmarks/scale.py [--segments 100000 1000000 10000000] [--queries 100] [--folder DIR]

What is simulated: one part's column of vectors alone, float16, in a Lance table of its own, with
the index that a large catalogue has (IVF_RQ by dot product, 5 bits, 4,096 rows a partition, as
`stemwise.library.candidates` builds it), trained and filled on one core. Pieces of 25 segments lie
around the centres of clusters, 15 pieces each, as in benchmarks/search.py. A query is a stored
segment, moved a little. Recall@10 is the share of the ten nearest segments by exact float32
products (found by brute force over the whole table) among the first ten of the list of 300 once
that list is compared exactly: what a search does for one part. Not simulated: the other four parts,
passages, silence, hub terms, other machines, and music.

The vectors are made block by block and the exact search reads the table in stretches, so that
memory grows with the index alone. Latencies are of the second pass over all queries.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfRq

BLOCK = 100_000
DIMENSIONS = 128
STRUCTURE = 64
PER_PIECE = 25
PIECES_PER_CLUSTER = 15
ROWS_PER_PARTITION = 4096
LISTED = 300
NEAREST = 10
SCHEMA = pa.schema([("piece", pa.int32()), ("part", pa.list_(pa.float16(), DIMENSIONS))])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def made_blocks(segments, seed=0):
    """Yield (number of the first piece, (BLOCK, 128) float32)."""
    rng = np.random.default_rng(seed)
    clusters = max(20, segments // (PER_PIECE * PIECES_PER_CLUSTER))
    centres = rng.standard_normal((clusters, STRUCTURE), dtype=np.float32)
    spread = rng.standard_normal((STRUCTURE, DIMENSIONS), dtype=np.float32) / np.sqrt(STRUCTURE)
    for first in range(0, segments, BLOCK):
        pieces = min(BLOCK, segments - first) // PER_PIECE
        piece = centres[rng.integers(0, clusters, pieces)]
        piece = piece + 0.5 * rng.standard_normal(piece.shape, dtype=np.float32)
        segment = (piece @ spread).repeat(PER_PIECE, axis=0)
        segment += 0.4 * rng.standard_normal(segment.shape, dtype=np.float32)
        yield first // PER_PIECE, unit(segment)


def written(folder, segments):
    table = lancedb.connect(folder).create_table("part", schema=SCHEMA)
    for first, block in made_blocks(segments):
        flat = pa.array(block.astype(np.float16).reshape(-1))
        pieces = np.repeat(np.arange(len(block) // PER_PIECE, dtype=np.int32) + first, PER_PIECE)
        column = pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS)
        table.add(pa.table([pa.array(pieces), column], schema=SCHEMA))
    table.optimize()
    return table


def batches(table):
    """Yield (row ids, vectors) of the whole table, in stretches."""
    rows = table.search().select(["part"]).with_row_id(True).limit(None)
    for batch in rows.to_batches(batch_size=BLOCK):
        flat = batch["part"].flatten().to_numpy().astype(np.float32)
        yield batch["_rowid"].to_numpy(), flat.reshape(-1, DIMENSIONS)


def made_queries(table, count):
    rng = np.random.default_rng(1)
    total, seen, found = table.count_rows(), 0, []
    wanted = np.sort(rng.integers(0, total, count))
    for _, vectors in batches(table):
        own = wanted[(wanted >= seen) & (wanted < seen + len(vectors))] - seen
        found.append(vectors[own])
        seen += len(vectors)
    chosen = np.concatenate(found)
    return unit(chosen + 0.03 * rng.standard_normal(chosen.shape)).astype(np.float32)


def exact(table, queries):
    """Return the row ids (Q, 10) of the nearest, and the seconds that one pass takes."""
    started = time.perf_counter()
    best = np.full((len(queries), NEAREST), -np.inf, np.float32)
    ids = np.zeros(best.shape, np.uint64)
    for rows, vectors in batches(table):
        near = queries @ vectors.T
        top = np.argpartition(-near, NEAREST, axis=1)[:, :NEAREST]
        both = np.concatenate([best, np.take_along_axis(near, top, axis=1)], axis=1)
        named = np.concatenate([ids, rows[top]], axis=1)
        order = np.argsort(-both, axis=1)[:, :NEAREST]
        best = np.take_along_axis(both, order, axis=1)
        ids = np.take_along_axis(named, order, axis=1)
    return ids, time.perf_counter() - started


def by_index(table, query, probes):
    """Return the ten nearest of the list of 300, compared exactly."""
    search = table.search(query, vector_column_name="part").distance_type("dot").nprobes(probes)
    listed = search.select(["_distance"]).with_row_id(True).limit(LISTED).to_arrow()
    names = listed["_rowid"].to_pylist()
    rows = table.take_row_ids(names).select(["part"]).with_row_id().to_arrow()
    vectors = rows["part"].combine_chunks().flatten().to_numpy().astype(np.float32)
    near = vectors.reshape(-1, DIMENSIONS) @ query
    return rows["_rowid"].to_numpy()[np.argsort(-near)[:NEAREST]]


def bytes_below(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def run(folder, segments, count, bits):
    started = time.perf_counter()
    table = written(folder, segments)
    vectors_bytes, writing = bytes_below(folder), time.perf_counter() - started
    queries = made_queries(table, count)
    truth, scanning = exact(table, queries)
    partitions = max(1, segments // ROWS_PER_PARTITION)
    config = IvfRq(distance_type="dot", num_bits=bits, num_partitions=partitions, sample_rate=64)
    started, cpu = time.perf_counter(), time.process_time()
    table.create_index("part", config=config)
    building, cpu = time.perf_counter() - started, time.process_time() - cpu
    index_bytes = bytes_below(folder) - vectors_bytes
    print(f"\n{segments:,} segments ({segments // PER_PIECE:,} pieces), {partitions} partitions, {bits} bits:"
          f" vectors {vectors_bytes / segments:.0f} and index {index_bytes / segments:.0f} bytes a segment;"
          f" written in {writing:.0f} s, index built in {building:.0f} s ({cpu:.0f} s of one core),"
          f" all {count} queries by brute force in {scanning:.0f} s", flush=True)  # fmt: skip
    print(f"{'probes':>8}{'rows probed':>13}{'recall@10':>11}{'p50':>10}{'p99':>10}{'core ms':>10}")
    for probes in sorted({min(n, partitions) for n in (5, 20, 50, max(50, partitions // 16))}):
        found = [by_index(table, query, probes) for query in queries]
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)])
        taken, cpu = [], time.process_time()
        for query in queries:
            began = time.perf_counter()
            by_index(table, query, probes)
            taken.append(1000 * (time.perf_counter() - began))
        cpu = 1000 * (time.process_time() - cpu) / count
        p50, p99 = np.percentile(taken, [50, 99])
        print(f"{probes:8}{probes * segments // partitions:13,}{recall:11.3f}{p50:7.1f} ms{p99:7.1f} ms"
              f"{cpu:7.1f} ms", flush=True)  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory so far {peak:.1f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--bits", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the tables are made")
    options = parser.parse_args()
    for segments in options.segments:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            run(folder, segments, options.queries, options.bits)


if __name__ == "__main__":
    main()
