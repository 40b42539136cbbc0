"""Search indexes built, and small files merged, by the machines of a cluster, with lance-ray.

The index of a part is what `stemwise.library.candidates` builds on one machine, IVF_RQ by dot
product: its centroids are trained here, on 64 rows a partition, and every machine codes the rows of
some fragments. What is built anew replaces the old index once it is complete. Readers on one
machine and `stemwise.scale.searching` use it alike.

lance-ray makes one rotation for all machines from ``num_bits``, which must therefore be passed: its
default is 1, that of a machine that builds is 5, and an index of both fails.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stemwise.errors import CatalogueError, extra
from stemwise.library.candidates import BITS, ROWS_PER_PARTITION, SAMPLES_PER_PARTITION
from stemwise.library.store import Store
from stemwise.library.tables import SCHEMAS, reason_of
from stemwise.parts import PARTS

with extra("scale"):
    import lance
    import lance_ray
    import ray

__all__ = ["at_work", "build_indexes", "compact", "workers"]

ROWS_PER_FRAGMENT = 1024 * 1024
FRAGMENTS_TO_COMPACT = 64
_INDEXED = {"segments": ("content",), "pieces": ("content", "path")}


def build_indexes(store: Store, parts: Sequence[str] = PARTS, *, bits: int = BITS) -> None:
    """Build the index of each of `parts`, and those by which contents and paths are looked up.

    Raises:
        CatalogueError: a table cannot be read or written.
    """
    with at_work(store):
        uri = store.uri("segments")
        rows = lance.dataset(uri).count_rows()
        for part in parts:
            lance_ray.create_index(
                uri,
                part,
                "IVF_RQ",
                metric="dot",
                num_partitions=max(1, rows // ROWS_PER_PARTITION),
                sample_rate=SAMPLES_PER_PARTITION,
                num_bits=bits,
                num_workers=workers(),
            )
        for kind, columns in _INDEXED.items():
            for column in columns:
                lance_ray.create_scalar_index(
                    uri=store.uri(kind), column=column, index_type="BTREE", replace=True,
                    num_workers=workers(),
                )  # fmt: skip


def compact(store: Store) -> None:
    """Merge the fragments of a table once there are many, each up to a million rows.

    Raises:
        CatalogueError: a table cannot be read or written.
    """
    many = []
    for kind in SCHEMAS:
        try:
            count = len(lance.dataset(store.uri(kind)).get_fragments())
        except (ValueError, RuntimeError, OSError) as error:
            raise _failed(store, error) from error
        if count >= FRAGMENTS_TO_COMPACT:
            many.append(store.uri(kind))
    if many:
        with at_work(store, pool=False):  # that work makes one of its own
            options = {"target_rows_per_fragment": ROWS_PER_FRAGMENT}
            for uri in many:
                lance_ray.compact_files(uri, compaction_options=options, num_workers=workers())


def workers() -> int:
    """Return how many processes the cluster has room for."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextmanager
def at_work(store: Store, *, pool: bool = True) -> Iterator[None]:
    """Hold a pool of processes for what lance-ray does; turn what it raises into one line.

    A pool that the caller has made before (``lance_ray.init_global_pool``) is used and kept.
    """
    errors: tuple[Any, ...] = (ValueError, RuntimeError, OSError, ray.exceptions.RayError)
    own = pool and lance_ray.get_global_pool() is None
    logging.getLogger("lance_ray.pool").setLevel("ERROR")  # of fewer tasks than processes
    try:
        if pool:
            lance_ray.init_global_pool(workers())
        yield
    except errors as error:
        raise _failed(store, error) from error
    finally:
        if own:
            lance_ray.clear_global_pool(close=True)


def _failed(store: Store, error: Exception) -> CatalogueError:
    reason = reason_of(error)
    return CatalogueError(
        f"the cluster could not work on the catalogue in {store.directory}: {reason}"
    )
