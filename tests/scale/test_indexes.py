"""Indexes built by the cluster, and searched by one machine and by all."""

import json

import lance_ray
import numpy as np
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from stemwise.cli import app
from stemwise.errors import CatalogueError, UsageError
from stemwise.library import engines
from stemwise.library.candidates import has_indexes, nearest, needs_indexes
from stemwise.library.catalogue import Catalogue
from stemwise.library.distances import Space
from stemwise.library.embed import FileEmbedding
from stemwise.library.filters import Filter
from stemwise.library.places import place_of
from stemwise.library.search import similar
from stemwise.library.store import Store
from stemwise.library.tables import SCHEMAS, as_row
from stemwise.scale.engine import RayEngine
from stemwise.scale.indexes import build_indexes, compact
from stemwise.scale.searching import similar_on_cluster

PIECES, PER_PIECE, PER_WRITE = 400, 10, 50


@pytest.fixture(scope="module")
def large(cluster, tmp_path_factory, tiny_model):
    """A catalogue of 4,000 made segments around the centres of clusters, in fragments."""
    catalogue = Catalogue.open(tmp_path_factory.mktemp("large"), create=True)
    store = catalogue._claim(tiny_model)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 5, 128))
    for first in range(0, PIECES, PER_WRITE):
        files, rows = [], []
        for k in range(first, first + PER_WRITE):
            made = centres[k % 40] + 0.5 * rng.standard_normal((5, 128))
            made = made + 0.3 * rng.standard_normal((PER_PIECE, 5, 128))
            made = (made / np.linalg.norm(made, axis=-1, keepdims=True)).astype(np.float32)
            content = f"{k:012x}{0:020x}"
            presence = np.full((PER_PIECE, 5), 0.9, np.float32)
            levels = np.zeros(PER_PIECE, np.float32)
            files.append(FileEmbedding(None, content, 30.0 * k, 2.0 * np.arange(PER_PIECE), made,
                                       presence, levels))  # fmt: skip
            row = dict.fromkeys(SCHEMAS["pieces"].names, "") | {"path": f"s3://m/{k}.wav"}
            numbers = {"size_bytes": 1, "mtime_ns": 1, "year": None, "bpm": None, "missing": False}
            row |= numbers | {"content": content, "title": f"made {k}", "segments": PER_PIECE}
            rows.append(row | {"duration_seconds": 30.0 * k})
        engines.ThisMachine().store(store, files)
        store.put("pieces", rows)
    return catalogue


@pytest.fixture(scope="module")
def pool(cluster):
    """Processes for what lance-ray does, so that not every test starts its own."""
    yield lance_ray.init_global_pool(2)
    lance_ray.clear_global_pool(close=True)


def store_of(catalogue):
    return Store(catalogue.directory, catalogue.metadata.fingerprint)


def test_small_files_are_merged_and_indexes_built_by_all_machines(large, monkeypatch):
    monkeypatch.setattr("stemwise.scale.indexes.FRAGMENTS_TO_COMPACT", 8)
    store = store_of(large)
    before = store.read("segments", ["content", "start_seconds"]).sort_by("content")
    compact(store)
    table = store.table("segments")
    assert table.stats()["fragment_stats"]["num_fragments"] == 1
    after = store.read("segments", ["content", "start_seconds"]).sort_by("content")
    assert pc.all(pc.equal(before["content"], after["content"])).as_py()
    assert large.verify() == [] or all(f.kind == "model" for f in large.verify())
    assert needs_indexes(table, most=3999)
    build_indexes(store, ["drums", "guitar"])
    table = store.table("segments")
    indexed = {index.columns[0]: index.index_type for index in table.list_indices()}
    assert indexed == {"drums": "IvfRq", "guitar": "IvfRq", "content": "BTree"}
    assert not has_indexes(table)  # of all parts
    assert table.index_stats("drums_idx").num_indexed_rows == PIECES * PER_PIECE


def test_one_machine_searches_by_what_many_have_built(large):
    vectors = large.vectors()
    space = Space.plain(vectors)
    rng = np.random.default_rng(1)
    found = []
    for part in (0, 3):
        whole = vectors.block(part)
        for row in rng.integers(0, len(whole), 10):
            near = np.argsort(-(whole @ whole[row]))[:10]
            ((rows, apart, last),) = nearest(space, whole[row][None], part, 50)
            assert apart.max() <= last
            found.append(np.isin(near, rows).mean())
    assert np.mean(found) > 0.95


def test_all_machines_together_find_what_one_does(large, pool):
    asked = large.pieces()[7]
    weights = {"drums": 1.0, "guitar": 0.5}
    wanted = similar(large, asked.id, weights, n=10, scaling=False, exact=True)
    found = similar_on_cluster(large, asked.path, weights, n=10)
    assert found.kind == "probable"
    names = [match.piece.id for match in found.matches]
    assert len(set(names) & {match.piece.id for match in wanted.matches}) >= 9
    distances = {match.piece.id: match.distance for match in wanted.matches}
    for match in found.matches:
        wanted_distance = distances.get(match.piece.id, match.distance)
        assert match.distance == pytest.approx(wanted_distance, rel=1e-6)  # single precision
    for text in ("s3://m/none.wav", "it's none", "0" * 11 + "z"):
        with pytest.raises(UsageError, match="no piece in the catalogue has the path"):
            similar_on_cluster(large, text)


def test_the_command_searches_with_all_machines(large, pool):
    def run(*words):
        words = ["similar", *words, "--engine", "ray", "--catalogue", large.directory]
        return CliRunner().invoke(app, [str(word) for word in words])

    asked = large.pieces()[7]
    longer = Filter(durations_seconds=(3600, None))
    wanted = similar_on_cluster(large, asked.path, {"drums": 1.0}, n=3, filters=longer)
    assert wanted.matches
    for query in (asked.id, asked.title.upper()):
        told = run(query, "--part", "drums", "-n", 3, "--duration", "1:00:00-", "--json")
        assert told.exit_code == 0, told.output
        lines = [json.loads(line) for line in told.stdout.splitlines()]
        assert [line["id"] for line in lines] == [match.piece.id for match in wanted.matches]
        assert {line["kind"] for line in lines} == {"probable"}
    refused = run(asked.id, "--from", "0:10")
    assert "a cluster searches by one whole piece" in str(refused.exception)
    other = large.pieces()[8]
    store_of(large).put("pieces", [as_row(other) | {"title": asked.title}])
    refused = run(asked.title)
    store_of(large).put("pieces", [as_row(other)])
    assert str(refused.exception).startswith(f"'{asked.title}' fits 2 pieces; choose one by its id")


def test_an_index_of_the_engine_builds_them_once(large, monkeypatch):
    built = []
    monkeypatch.setattr("stemwise.scale.engine.build_indexes", built.append)
    engine = RayEngine()
    engine.keep_indexes(store_of(large))
    assert not built  # 4,000 rows are not large
    monkeypatch.setattr("stemwise.scale.engine.needs_indexes", lambda table: True)
    engine.keep_indexes(store_of(large))
    assert len(built) == 1


def test_what_fails_is_told_in_one_line(pool, bucket):
    nowhere = Store(place_of(f"{bucket}/nowhere"), "0" * 16)
    for work in (build_indexes, compact):
        with pytest.raises(CatalogueError, match="the cluster could not work on") as caught:
            work(nowhere)
        assert "\n" not in str(caught.value)
