"""A catalogue's vectors for other programs: a NumPy archive, a table of text, or Parquet.

One row per segment of each file, files by path, segments by time; copies of a file have rows of
their own. Vectors are the model's, of length 1 per part; of parts with a presence below 0.5 they
mean little.

- ``.npz``: arrays ``embeddings`` (S, 5, 128) float16, ``presence`` (S, 5) float32,
  ``start_seconds`` (S,), ``id`` and ``path`` (S,), and ``parts``, ``fingerprint``.
- ``.parquet``: columns id, path, title, artist, album, genre, year, bpm, duration_seconds,
  start_seconds, ``presence_PART``, and ``PART``, a list of 128 float16.
- ``.csv``: the same, with 128 columns ``PART_0`` … for each part.

Memory: CSV and Parquet are written some files at a time; an archive is held whole.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from stemwise.errors import UsageError
from stemwise.library.vectors import Vectors
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue

__all__ = ["export"]

_TAGS = ("title", "artist", "album", "genre", "year", "bpm", "duration_seconds")
_ROWS_AT_A_TIME = 4096
_TYPES = {"year": pa.int32(), "bpm": pa.float64(), "duration_seconds": pa.float64()}


def export(
    catalogue: "Catalogue",
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write all vectors of `catalogue` to `path`; return the number of segments.

    The file appears whole or not at all.

    Args:
        catalogue: what to export.
        path: ends in .npz, .csv or .parquet.
        progress: called with (files done, files in all).

    Raises:
        UsageError: another extension, or the file cannot be written.
    """
    vectors = catalogue.vectors()
    writers = {".npz": _write_archive, ".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"an export ends in {', '.join(writers)}, but {path.name} does not")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        count = write(partial, _batches(vectors, progress), catalogue.metadata.fingerprint)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return count


def _batches(
    vectors: Vectors, progress: Callable[[int, int], None]
) -> Iterator[tuple[dict[str, Any], NDArray[np.float16]]]:
    """Yield the columns and the blocks (R, 5, 128) of some files at a time."""
    files = sorted(
        ((piece, k) for k, p in enumerate(vectors.pieces) for piece in vectors.copies[p.content]),
        key=lambda pair: pair[0].path,
    )
    pieces = [piece for piece, _ in files]
    numbers = np.array([k for _, k in files], np.int64)
    done = 0
    for some in vectors.runs(numbers, _ROWS_AT_A_TIME):
        rows, bounds = vectors.rows_of(some)
        owners = np.repeat(np.arange(done, done + len(some)), np.diff(bounds))
        columns: dict[str, Any] = {
            "id": [pieces[k].id for k in owners],
            "path": [str(pieces[k].path) for k in owners],
            **{tag: [getattr(pieces[k], tag) for k in owners] for tag in _TAGS},
            "start_seconds": vectors.start_seconds[rows],
            "presence": vectors.presence[rows],
        }
        blocks = [vectors.take(part, rows).astype(np.float16) for part in range(len(PARTS))]
        yield columns, np.stack(blocks, axis=1)
        done += len(some)
        progress(done, len(files))


def _write_archive(path: Path, batches: Iterator[Any], fingerprint: str) -> int:
    columns, blocks = [], [np.zeros((0, len(PARTS), BLOCK_DIMENSIONS), np.float16)]
    for some, block in batches:
        columns.append(some)
        blocks.append(block)
    embeddings = np.concatenate(blocks)
    presences = [np.zeros((0, len(PARTS)), np.float32), *(c["presence"] for c in columns)]
    with path.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            embeddings=embeddings,
            presence=np.concatenate(presences),
            start_seconds=np.concatenate([np.zeros(0), *(c["start_seconds"] for c in columns)]),
            id=np.array([name for c in columns for name in c["id"]], np.str_),
            path=np.array([name for c in columns for name in c["path"]], np.str_),
            parts=np.array(PARTS),
            fingerprint=np.array(fingerprint),
        )
    return len(embeddings)


def _write_parquet(path: Path, batches: Iterator[Any], fingerprint: str) -> int:
    lists = [pa.field(part, pa.list_(pa.float16(), BLOCK_DIMENSIONS)) for part in PARTS]
    schema = pa.schema([*_plain_fields(), *lists], metadata={"fingerprint": fingerprint})
    count = 0
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for columns, blocks in batches:
            arrays = _plain_arrays(columns)
            for i in range(len(PARTS)):
                flat = pa.array(np.ascontiguousarray(blocks[:, i]).reshape(-1))
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, BLOCK_DIMENSIONS))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(blocks)
    return count


def _write_csv(path: Path, batches: Iterator[Any], fingerprint: str) -> int:
    numbers = [
        pa.field(f"{part}_{d}", pa.float32()) for part in PARTS for d in range(BLOCK_DIMENSIONS)
    ]
    schema = pa.schema([*_plain_fields(), *numbers])
    count = 0
    with pa.csv.CSVWriter(str(path), schema) as writer:
        for columns, blocks in batches:
            flat = blocks.reshape(len(blocks), -1).astype(np.float32)
            arrays = [*_plain_arrays(columns), *(pa.array(column) for column in flat.T)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(blocks)
    return count


def _plain_fields() -> list[pa.Field]:
    return [
        pa.field("id", pa.string()),
        pa.field("path", pa.string()),
        *(pa.field(tag, _TYPES.get(tag, pa.string())) for tag in _TAGS),
        pa.field("start_seconds", pa.float64()),
        *(pa.field(f"presence_{part}", pa.float32()) for part in PARTS),
    ]


def _plain_arrays(columns: dict[str, Any]) -> list[pa.Array]:
    """Return the columns of `_plain_fields`."""
    presence = columns["presence"]
    parts = {f"presence_{part}": presence[:, i] for i, part in enumerate(PARTS)}
    return [pa.array((columns | parts)[field.name], field.type) for field in _plain_fields()]
