"""Pack a MIDI collection, a folder with index.csv and LICENCES.md, into the package's midi.zip.

    python scripts/pack_midi.py FOLDER [ZIP]

Sources under a copyleft licence (GPL) are left out. Songs (copies and revisions) are found and
written into the packed index, so that a reader need not compare the files again. The same folder
gives the same bytes.
"""

import csv
import io
import sys
import zipfile
from pathlib import Path

from stemwise.corpora.midi_collection import SHIPPED, read_collection

COLUMNS = (
    "path", "source", "licence", "song", "n_drums", "n_bass", "n_piano", "n_guitar",
)  # fmt: skip


def pack(folder: Path, target: Path) -> int:
    """Write `target` from the usable files of `folder`; return how many there are."""
    files = [f for f in read_collection(folder) if not f.licence.startswith("GPL")]
    with (folder / "index.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    index = io.StringIO()
    writer = csv.DictWriter(index, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for file in files:
        writer.writerow(rows[file.path] | {"song": file.song})
    entries = {
        "LICENCES.md": (folder / "LICENCES.md").read_bytes(),
        "index.csv": index.getvalue().encode(),
    } | {file.path: file.midi for file in files}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return len(files)


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    if not 1 <= len(arguments) <= 2:
        sys.exit(__doc__)
    print(pack(arguments[0], arguments[1] if len(arguments) > 1 else SHIPPED), "files")
