import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_collection import add_song
from made_vectors import made, made_query, made_space, piece, slow_distance, unit
from stemwise.errors import UsageError
from stemwise.library.calibration import LEVELS, UNCALIBRATED, Calibration
from stemwise.library.catalogue import Catalogue
from stemwise.library.distances import Space, piece_distances
from stemwise.library.duplicates import Recordings
from stemwise.library.filters import Filter
from stemwise.library.query import Example, Query, stored_query
from stemwise.library.search import Question, prepare, search, similar
from stemwise.library.selection import Limits
from stemwise.library.vectors import vectors_in_memory
from stemwise.parts import PARTS

weight_rows = st.lists(st.sampled_from([0, 0, 0.3, 1, 2.5]), min_size=5, max_size=5).filter(any)
seeds = st.integers(0, 10_000)
EVERY = Limits(1000)
BENT = Calibration(np.outer([1, 0.5, 0.7, 0.2, 0.9], 4 * LEVELS**2), "held-out pieces", "", {})


def found(question, limits=EVERY, filters=None):
    return search(question, limits, filters).matches


def places(question, limits=EVERY, filters=None):
    return [(m.piece.id, m.distance) for m in found(question, limits, filters)]


def distance_of(question, title):
    return next(m.distance for m in found(question) if m.piece.title == title)


@settings(max_examples=40)
@given(seeds, weight_rows, weight_rows, weight_rows)
def test_several_examples_are_weighed_as_the_definition_says(seed, first, second, away):
    space = made_space(seed)
    queries = (
        made_query(seed, first), made_query(seed + 1, second, segments=2),
        made_query(seed + 2, away, segments=3, away=True),
    )  # fmt: skip
    question = Question(space, queries, BENT)
    counts = [q.weights.sum() for q in queries]
    wanted = {}
    for k, known in enumerate(space.vectors.pieces):
        rows = space.vectors.rows(k)
        near = queries[0].weights + queries[1].weights
        if not space.vectors.sounding[rows][:, near > 0].any():
            continue
        apart = [slow_distance(space, query, k)[0] for query in queries]
        limit = np.interp(0.5, LEVELS, queries[2].shares.mean(axis=0) @ BENT.quantiles)
        total = counts[0] * apart[0] + counts[1] * apart[1]
        total += counts[2] * max(0, limit - apart[2])
        wanted[known.id] = total / (counts[0] + counts[1])
    matches = found(question)
    assert {m.piece.id for m in matches} == set(wanted)
    for match in matches:
        assert match.distance == pytest.approx(wanted[match.piece.id], abs=1e-5)
        assert len(match.passages) == sum(len(q.start_seconds) for q in queries[:2])
        assert [example.away for example in match.examples] == [False, False, True]
    keys = [round(m.distance, 5) for m in matches]
    assert keys == pytest.approx(sorted(keys), abs=2e-5)


@given(seeds, weight_rows, st.sampled_from([0.001, 2, 3, 1000]))
def test_scaling_all_weights_changes_nothing(seed, weights, scale):
    space = made_space(seed)
    queries = [made_query(seed, weights), made_query(seed + 1, [1, 0, 0, 1, 0], away=True)]
    scaled = [dataclasses.replace(q, weights=q.weights * scale) for q in queries]
    once, again = places(Question(space, tuple(queries))), places(Question(space, tuple(scaled)))
    assert [name for name, _ in once] == [name for name, _ in again]
    assert [d for _, d in once] == pytest.approx([d for _, d in again], abs=1e-5)


@given(seeds, weight_rows)
def test_the_same_example_twice_is_the_example(seed, weights):
    space = made_space(seed)
    query = made_query(seed, weights)
    once, twice = places(Question(space, (query,))), places(Question(space, (query, query)))
    assert [name for name, _ in once] == [name for name, _ in twice]
    assert [d for _, d in once] == pytest.approx([d for _, d in twice], abs=1e-6)


@given(seeds, weight_rows, weight_rows)
def test_an_example_to_avoid_only_puts_back_and_only_what_is_near_it(seed, weights, away):
    space = made_space(seed, hubs=0.0)
    query, avoid = made_query(seed, weights), made_query(seed + 1, away, away=True)
    before = dict(places(Question(space, (query,))))
    after = {m.piece.id: m for m in found(Question(space, (query, avoid)))}
    assert set(after) == set(before)
    for name, match in after.items():
        apart = match.examples[1].distance
        count = avoid.weights.sum() / query.weights.sum()
        assert match.distance - before[name] == pytest.approx(count * max(0, 2 - apart), abs=1e-5)


def test_a_piece_that_comes_nearer_to_what_is_avoided_moves_back():
    rng = np.random.default_rng(0)
    query, avoid = unit(rng, 1), unit(rng, 1)
    away = np.zeros((1, 5, 128), np.float32)
    away[0, 0] = avoid
    ask = np.zeros((1, 5, 128), np.float32)
    ask[0, 1] = query
    one = np.ones((1, 5), bool)
    last = -1.0
    for share in (0.5, 0.6, 0.8, 1.0):  # cosine with what is avoided; 0 is the median
        drums = share * avoid + np.sqrt(1 - share**2) * _across(rng, avoid)
        own = np.stack([drums[0], query[0], query[0], query[0], query[0]])[None].astype(np.float32)
        vectors = vectors_in_memory([piece(0)], [np.zeros(1)], [own], [np.ones((1, 5), np.float32)])
        queries = (
            Query("q", "x", 9.0, np.zeros(1), ask, one, np.eye(5)[1]),
            Query("n", "y", 9.0, np.zeros(1), away, one, np.eye(5)[0], away=True),
        )
        (match,) = found(Question(Space.plain(vectors), queries))
        assert match.distance > last
        last = match.distance
        assert match.distance == pytest.approx(2 - (2 - 2 * share), abs=1e-5)


def _across(rng, vector):
    other = unit(rng, 1)
    other -= (other @ vector.T) * vector
    return other / np.linalg.norm(other)


def test_nothing_to_come_near_to_is_a_mistake():
    with pytest.raises(UsageError, match="nothing to come near to"):
        search(Question(made_space(0), (made_query(0, [1, 0, 0, 0, 0], away=True),)), EVERY)


@given(seeds)
def test_a_piece_with_the_querys_vectors_comes_first_at_distance_0(seed):
    space = made_space(seed, hubs=0.0, share=1.0)
    rows = space.vectors.rows(2)
    own = np.stack([space.vectors.block(i)[rows] for i in range(5)], axis=1)
    query = Query("q", "none", 9.0, space.vectors.start_seconds[rows], own,
                  np.ones(own.shape[:2], bool), np.ones(5))  # fmt: skip
    first = found(Question(space, (query,)))[0]
    assert first.piece == space.vectors.pieces[2]
    assert first.distance == pytest.approx(0, abs=1e-5)
    assert [p.match_seconds for p in first.passages] == query.start_seconds.tolist()
    assert first.best.query_seconds == first.best.match_seconds  # rounding chooses among equals


def test_what_a_match_says_of_itself():
    space = made_space(5)
    query = made_query(5, [1, 0, 0.5, 0, 0])
    for match in found(Question(space, (query,), BENT)):
        (example,) = match.examples
        assert example.distance == pytest.approx(match.distance, abs=1e-6)
        assert example.similarity == pytest.approx(match.similarity, abs=1e-6)
        assert match.parts == pytest.approx(example.parts)
        weights = query.shares.mean(axis=0)
        wanted = BENT.similarity(np.array(match.distance), weights)
        assert match.similarity == pytest.approx(float(wanted), abs=1e-6)
        for name, part in match.parts.items():
            i = PARTS.index(name)
            told = [passage for passage in match.passages if name in passage.parts]
            assert part.distance == pytest.approx(np.mean([p.parts[name] for p in told]), abs=1e-5)
            assert part.presence == pytest.approx(np.mean([p.presence[name] for p in told]))
            alone = BENT.similarity(np.array(part.distance), np.eye(5)[i])
            assert part.similarity == pytest.approx(float(alone), abs=1e-6)
        for passage, s in zip(match.passages, query.start_seconds, strict=True):
            assert passage.query_seconds == s
            rows = space.vectors.rows(space.vectors.number_of(match.piece.content))
            place = rows.start + list(space.vectors.start_seconds[rows]).index(
                passage.match_seconds
            )
            for name, presence in passage.presence.items():
                assert presence == space.vectors.presence[place, PARTS.index(name)]


def test_a_silent_part_never_matches():
    rng = np.random.default_rng(0)
    own = unit(rng, 1, 5)
    presences = [np.array([[1, p, 0, 0, 0]], np.float32) for p in (1.0, 0.0)]
    vectors = vectors_in_memory([piece(0), piece(1)], [np.zeros(1)] * 2, [own, own], presences)
    query = Query(
        "q", "x", 9.0, np.zeros(1), own, np.ones((1, 5), bool), np.array([1.0, 1, 0, 0, 0])
    )
    first, second = found(Question(Space.plain(vectors), (query,)))
    assert (first.piece, second.piece) == vectors.pieces
    assert first.distance == pytest.approx(0, abs=1e-6)
    assert second.distance == pytest.approx(2, abs=1e-6)  # (0 + 4) / 2
    assert second.parts["drums"].distance == pytest.approx(0, abs=1e-6)
    assert second.parts["bass"].distance == 4
    assert second.parts["bass"].presence == 0
    only = dataclasses.replace(query, weights=np.array([0, 1.0, 0, 0, 0]))
    assert [m.piece for m in found(Question(Space.plain(vectors), (only,)))] == [vectors.pieces[0]]


def test_ties_go_by_id_and_the_examples_themselves_are_left_out():
    vectors = made(1, pieces=6, most=1, share=1.0)
    query = made_query(1, np.ones(5), segments=1)
    for part in range(5):
        vectors.block(part)[:] = query.embeddings[0, part]
    ids = [m.piece.id for m in found(Question(Space.plain(vectors), (query,)))]
    assert ids == sorted(ids)
    assert len(ids) == 6
    own = dataclasses.replace(query, content=vectors.pieces[3].content)
    avoid = dataclasses.replace(own, content=vectors.pieces[5].content, away=True)
    left = [m.piece.id for m in found(Question(Space.plain(vectors), (own, avoid)))]
    assert left == [ids[k] for k in (0, 1, 2, 4)]


def tagged(seed, pieces=40):
    """Return a space whose pieces have artists a, b and none, and years 1960 to 1999."""
    vectors = made(seed, pieces=pieces, share=1.0)
    named = tuple(
        dataclasses.replace(p, artist=["A", "b", ""][k % 3], year=1960 + k)
        for k, p in enumerate(vectors.pieces)
    )
    copies = {p.content: (p,) for p in named}
    return Space.plain(dataclasses.replace(vectors, pieces=named, copies=copies))


@given(seeds, st.integers(1, 12), st.integers(1960, 1999))
def test_filters_come_before_ranking(seed, n, year):
    question = Question(tagged(seed), (made_query(seed, [1, 0, 1, 0, 0]),))
    every = found(question)
    filters = Filter(artists=("a",), years=(year, None))
    wanted = [m for m in every if m.piece.artist == "A" and m.piece.year >= year]
    result = search(question, Limits(n), filters)
    assert [m.piece for m in result.matches] == [m.piece for m in wanted[:n]]
    assert result.searched == len(wanted)
    assert result.kind == "exact"


@given(seeds, st.integers(1, 30), st.integers(1, 4))
def test_so_many_of_one_artist_at_most(seed, n, most):
    question = Question(tagged(seed), (made_query(seed, [1, 0, 1, 0, 0]),))
    kept, passed = [], 0
    for match in found(question):
        same = sum(other.piece.artist == match.piece.artist for other in kept)
        if len(kept) == n:
            break
        if match.piece.artist and same == most:
            passed += 1
        else:
            kept.append(match)
    result = search(question, Limits(n, per_artist=most))
    assert [m.piece for m in result.matches] == [m.piece for m in kept]
    assert result.over_limit == passed


def recorded(seed):
    """Return 12 random pieces; 1 and 7 are other files of 0 and 2, and last as long."""
    vectors = made(seed, pieces=12, share=1.0, most=3)
    rng = np.random.default_rng(seed)
    counts = np.diff(vectors.offsets)
    blocks = [np.stack([vectors.block(i)[vectors.rows(k)] for i in range(5)], 1) for k in range(12)]
    pieces = list(vectors.pieces)
    for copy, original in ((1, 0), (7, 2)):
        noise = 0.002 * rng.standard_normal(blocks[original].shape)
        blocks[copy] = (blocks[original] + noise).astype(np.float32)
        counts[copy] = counts[original]
        seconds = pieces[original].duration_seconds + 0.5
        pieces[copy] = dataclasses.replace(pieces[copy], duration_seconds=seconds)
    starts = [10.0 * np.arange(count) for count in counts]
    presence = [np.ones((count, 5), np.float32) for count in counts]
    return Space.plain(vectors_in_memory(pieces, starts, blocks, presence))


@pytest.mark.parametrize("n", [3, 50])
def test_files_of_one_recording_are_one_match_and_are_told(n):
    space = recorded(3)
    pieces = space.vectors.pieces
    query = dataclasses.replace(made_query(3, np.ones(5)), content=pieces[0].content)
    query = dataclasses.replace(query, embeddings=query.embeddings * 0 + np.float32(128**-0.5))
    shown = search(Question(space, (query,)), Limits(50, collapse=False))
    assert {m.piece for m in shown.matches} == set(pieces[1:])
    assert shown.same_recording == ()
    result = search(Question(space, (query,)), Limits(n))
    assert result.same_recording == (pieces[1],)
    kept = [m.piece for m in shown.matches if m.piece != pieces[1]]
    twin = next(p for p in kept if p in (pieces[2], pieces[7]))
    kept.remove(({pieces[2], pieces[7]} - {twin}).pop())
    assert [m.piece for m in result.matches] == kept[:n]
    for match in result.matches:
        assert len(match.same_recording) == (match.piece == twin)


def test_a_recording_outside_the_catalogue_is_known_too():
    space = recorded(3)
    vectors = space.vectors
    query = dataclasses.replace(made_query(3, np.ones(5)), recording=Recordings(vectors)[2])
    result = search(Question(space, (query,)), EVERY)
    assert set(result.same_recording) == {vectors.pieces[2], vectors.pieces[7]}
    assert not {m.piece for m in result.matches} & set(result.same_recording)


def test_what_was_asked_is_told():
    first = dataclasses.replace(made_query(0, [1, 0.5, 0, 0, 0]), absent_parts=("piano",))
    second = made_query(1, [0, 0, 0, 1, 0], away=True)
    result = search(Question(made_space(0), (first, second)), EVERY)
    assert result.query == "q0 + not q1"
    assert result.weights == {"drums": 1.0, "bass": 0.5}
    assert result.absent_parts == ("piano",)
    assert [(a.name, a.away, a.weights) for a in result.asked] == [
        ("q0", False, {"drums": 1.0, "bass": 0.5}), ("q1", True, {"guitar": 1.0}),
    ]  # fmt: skip
    assert result.parts == ("drums", "bass")
    assert result.calibration == UNCALIBRATED.source == "none"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, tiny_model):
    """Thirty songs of 2 to 5 seconds, each longer than the one before."""
    folder = tmp_path_factory.mktemp("place")
    for seed in range(30):
        add_song(folder / "music" / f"song {seed}.wav", 2 + 0.1 * seed, seed)
    catalogue = Catalogue.open(folder / "catalogue", create=True)
    catalogue.index([folder / "music"], tiny_model)
    return catalogue


def test_what_a_search_needs_can_be_prepared_and_is_kept(catalogue, tiny_model, monkeypatch):
    prepare(catalogue)
    folder = catalogue.directory / "search" / tiny_model.fingerprint
    kept = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(kept) == {"calibration.json", *(f"hubs-{part}.npz" for part in PARTS)}
    monkeypatch.setattr("stemwise.library.hubs.draw_sample", None)  # not called any more
    monkeypatch.setattr("stemwise.library.calibration.calibrate", None)
    result = similar(catalogue, "song 3", {"drums": 1}, collapse=False)
    assert result.calibration == "this catalogue"
    assert len(result.matches) == 20
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == kept
    assert catalogue.verify() == []


def test_scaling_can_be_left_out(catalogue):
    vectors = catalogue.vectors()
    k = vectors.number_of(catalogue.find("song 3").content)
    query = stored_query(vectors, k, np.eye(5)[1])
    wanted = piece_distances(Space.plain(vectors), query)
    plain = similar(catalogue, "song 3", {"bass": 1}, n=40, collapse=False, scaling=False)
    for match in plain.matches:
        known = vectors.number_of(match.piece.content)
        assert match.distance == pytest.approx(wanted[known], abs=1e-5)
    scaled = similar(catalogue, "song 3", {"bass": 1}, n=40, collapse=False)
    assert {m.distance for m in scaled.matches} != {m.distance for m in plain.matches}


def test_examples_and_a_plain_query_mean_the_same(catalogue):
    once = similar(catalogue, "song 3", {"bass": 1}, 0, 2, n=5)
    assert similar(catalogue, Example("song 3", {"bass": 1}, 0, 2), n=5) == once
    assert similar(catalogue, [Example("song 3", None, 0, 2)], {"bass": 1}, n=5) == once


def test_mistakes_in_a_search(catalogue):
    with pytest.raises(UsageError, match="must be 1 or more, got n=0, per_artist=None"):
        similar(catalogue, "song 3", n=0)
    with pytest.raises(UsageError, match="must be 1 or more, got n=20, per_artist=0"):
        similar(catalogue, "song 3", per_artist=0)
    with pytest.raises(UsageError, match="each example has its own stretch"):
        similar(catalogue, [Example("song 3")], None, 1.0)
    with pytest.raises(UsageError, match="nothing to come near to"):
        similar(catalogue, [])


def test_a_catalogue_of_one_piece_or_none_has_no_matches(tmp_path, tiny_model):
    music = tmp_path / "music"
    own = add_song(music / "own.wav", 3, 1)
    other = add_song(tmp_path / "other.wav", 3, 2)
    alone = Catalogue.open(tmp_path / "catalogue", create=True)
    alone.index([music], tiny_model)
    assert similar(alone, own).matches == ()
    assert len(similar(alone, other, model=tiny_model, collapse=False).matches) == 1
    own.unlink()
    alone.index([music], tiny_model)
    result = similar(alone, other, model=tiny_model)
    assert (result.matches, result.searched) == ((), 0)


def test_similarity_without_calibration_is_a_straight_line():
    space = made_space(2)
    for match in found(Question(space, (made_query(2, [1, 0, 0, 0.5, 0]),))):
        wanted = np.clip(1 - match.distance / 4, 0, 1)
        assert match.similarity == pytest.approx(wanted, abs=1e-6)
