import shutil

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from made_collection import add_song
from stemwise.errors import UsageError
from stemwise.library import export as module
from stemwise.library.catalogue import Catalogue
from stemwise.library.export import export
from stemwise.parts import PARTS


@pytest.fixture(scope="module", params=[4096, 3])
def catalogue(request, tmp_path_factory, tiny_model):
    """Four songs and a copy of one, written all at once or a few rows at a time."""
    folder = tmp_path_factory.mktemp("place")
    for seed in range(4):
        add_song(folder / "music" / f"song {seed}.wav", 5 + seed, seed)
    shutil.copy(folder / "music" / "song 2.wav", folder / "music" / "a, copy.wav")
    catalogue = Catalogue.open(folder / "catalogue", create=True)
    catalogue.index([folder / "music"], tiny_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS_AT_A_TIME", request.param)
        yield catalogue


def rows_of(catalogue):
    """Return (path, start, presences, embedding) of every segment, files by path."""
    vectors = catalogue.vectors()
    rows = []
    for known in catalogue.pieces():
        span = vectors.rows(vectors.number_of(known.content))
        for row in range(span.start, span.stop):
            blocks = np.stack([vectors.block(part)[row] for part in range(5)])
            rows.append(
                (str(known.path), vectors.start_seconds[row], vectors.presence[row], blocks)
            )
    return rows


def test_an_archive_holds_all_vectors(catalogue, tmp_path):
    told = []
    count = export(catalogue, tmp_path / "x.npz", lambda done, total: told.append((done, total)))
    wanted = rows_of(catalogue)
    assert count == len(wanted) > 15
    assert told[-1] == (5, 5)
    with np.load(tmp_path / "x.npz") as stored:
        assert stored["path"].tolist() == [path for path, *_ in wanted]
        assert stored["start_seconds"].tolist() == [start for _, start, *_ in wanted]
        np.testing.assert_array_equal(stored["presence"], [p for _, _, p, _ in wanted])
        np.testing.assert_array_equal(stored["embeddings"], [e for *_, e in wanted])
        assert stored["embeddings"].dtype == np.float16
        assert stored["parts"].tolist() == list(PARTS)
        assert str(stored["fingerprint"]) == catalogue.metadata.fingerprint
        ids = {str(p.path): p.id for p in catalogue.pieces()}
        assert stored["id"].tolist() == [ids[path] for path, *_ in wanted]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_table_holds_all_vectors(catalogue, tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    wanted = rows_of(catalogue)
    assert export(catalogue, path) == len(wanted)
    read = {"parquet": pyarrow.parquet.read_table, "csv": pyarrow.csv.read_csv}[ending]
    table = read(path)
    assert table["path"].to_pylist() == [name for name, *_ in wanted]
    assert table["start_seconds"].to_pylist() == [start for _, start, *_ in wanted]
    pieces = {str(p.path): p for p in catalogue.pieces()}
    for column in ("title", "duration_seconds"):
        assert table[column].to_pylist() == [getattr(pieces[n], column) for n, *_ in wanted]
    assert not any(table["year"].to_pylist())
    for i, part in enumerate(PARTS):
        presence = table[f"presence_{part}"].to_pylist()
        np.testing.assert_allclose(presence, [p[i] for _, _, p, _ in wanted], rtol=1e-6)
        if ending == "csv":
            found = np.stack([table[f"{part}_{d}"].to_numpy() for d in range(128)], axis=1)
        else:
            found = np.stack(table[part].to_pylist())
        np.testing.assert_allclose(found, [e[i] for *_, e in wanted], rtol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_other_endings_and_places_are_refused(catalogue, tmp_path):
    with pytest.raises(UsageError, match=r"ends in .npz, .csv, .parquet, but x.json does not"):
        export(catalogue, tmp_path / "x.json")
    (tmp_path / "file").touch()
    for ending in ("npz", "csv", "parquet"):
        with pytest.raises(UsageError, match="cannot be written"):
            export(catalogue, tmp_path / "file" / f"x.{ending}")
