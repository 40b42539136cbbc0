"""From an older format of the catalogue to the present one, one numbered step at a time.

Each step writes new tables beside the old ones and then replaces ``catalogue.json``, so that a step
killed half way leaves the old catalogue as it was, and can be run again. Old tables are removed
when all is done. While a catalogue is brought up to date it needs up to twice its room on the disk.

Formats:

1. One set of tables, ``pieces``, ``segments``, ``errors``; vectors in float32.
2. A set of tables for each model; vectors in float16.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lancedb
import pyarrow as pa
import pyarrow.compute as pc

from stemwise.errors import CatalogueError
from stemwise.library.metadata import FORMAT, Metadata, format_of, write_metadata
from stemwise.library.places import place_of
from stemwise.library.store import Store, one_writer, remove_other_tables
from stemwise.library.tables import SCHEMAS, reason_of, schema
from stemwise.parts import PARTS

__all__ = ["Migration", "migrate"]

_ROWS_AT_A_TIME = 16384


@dataclass(frozen=True)
class Migration:
    """What was brought up to date; both formats are equal if there was nothing to do."""

    path: Path
    before: int
    after: int


def migrate(path: Path | str) -> Migration:
    """Bring the catalogue in the folder `path` to the present format.

    Raises:
        CatalogueError: there is none, it is damaged, or of a newer format.
        BusyError: another process is writing it.
    """
    directory = place_of(path)
    before = format_of(directory)
    if before is None:
        raise CatalogueError(f"no catalogue in {directory}; make one with: stemwise index FOLDER")
    if before > FORMAT:
        raise CatalogueError(
            f"{directory} has format {before}, and this version of Stemwise knows formats up to "
            f"{FORMAT}; update Stemwise"
        )
    with one_writer(directory):
        number = format_of(directory)
        while number is not None and number < FORMAT:
            fingerprint = _STEPS[number](directory)
            remove_other_tables(directory, [fingerprint])
            number = format_of(directory)
    return Migration(directory, before, FORMAT)


def _to_format_2(directory: Path) -> str:
    """Give the tables the model's name, and halve the vectors; return the fingerprint."""
    try:
        old = json.loads((directory / "catalogue.json").read_text(encoding="utf-8"))
        metadata = Metadata(**old | {"format": 2})
        database = lancedb.connect(directory / "tables")
        tables = {kind: database.open_table(kind) for kind in SCHEMAS}
        remove_other_tables(directory, [], also=SCHEMAS)  # what a killed run has left
        store = Store(directory, metadata.fingerprint)
        store.create()
        named: set[str] = set()
        for kind in ("pieces", "errors", "segments"):
            query = tables[kind].search().select(SCHEMAS[kind].names).limit(None)
            for batch in query.to_batches(batch_size=_ROWS_AT_A_TIME):
                rows = pa.Table.from_batches([batch])
                if kind == "pieces":
                    named.update(rows["content"].to_pylist())
                elif kind == "segments":  # of a run that was killed, some may belong to no piece
                    known = pc.is_in(rows["content"], pa.array(sorted(named), pa.string()))
                    rows = _halved(rows.filter(known))
                store.append(kind, rows.cast(schema(kind, store.fingerprint)))
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise CatalogueError(
            f"the catalogue in {directory} cannot be brought to format 2: {reason_of(error)}; it "
            "is as it was"
        ) from error
    write_metadata(directory, metadata)
    return store.fingerprint


def _halved(rows: pa.Table) -> pa.Table:
    """Return `rows` of segments with vectors in float16."""
    wanted = SCHEMAS["segments"]
    for part in PARTS:
        column = rows[part].combine_chunks()
        flat = pc.list_flatten(column).cast(pa.float16())
        halved = pa.FixedSizeListArray.from_arrays(flat, wanted.field(part).type.list_size)
        rows = rows.set_column(rows.schema.get_field_index(part), wanted.field(part), halved)
    return rows


_STEPS: dict[int, Callable[[Path], str]] = {1: _to_format_2}
