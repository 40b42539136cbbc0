import numpy as np
import pytest

from made_collection import add_song
from made_vectors import made_query
from stemwise.errors import FingerprintError, UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.query import Example, parse_example, resolve, stored_query, weight_row
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, tiny_model):
    """Two songs of 5 and 9 seconds in segments of 2; piano never sounds."""
    folder = tmp_path_factory.mktemp("place")
    for seed, seconds in enumerate((5, 9)):
        add_song(folder / "music" / f"song {seed}.wav", seconds, seed)
    catalogue = Catalogue.open(folder / "catalogue", create=True)
    catalogue.index([folder / "music"], tiny_model)
    return catalogue


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("B", Example("B")),
        ("Blue in Green@0:10-0:20", Example("Blue in Green", None, 10, 20)),
        ("B@1:00:01.5-", Example("B", None, 3601.5)),
        ("B@42", Example("B", None, 42)),
        ("B@-0:42", Example("B", None, None, 42)),
        ("B:drums", Example("B", {"drums": 1})),
        ("B@5-6:bass=0.5,drums=2", Example("B", {"drums": 2, "bass": 0.5}, 5, 6)),
        ("7:45@night", Example("7:45@night")),
        ("7:45@night@10-12:piano", Example("7:45@night", {"piano": 1}, 10, 12)),
        ("me@home: live", Example("me@home: live")),
        ("B@", Example("B@")),
        ("B@-", Example("B@-")),
        ("drums:drums", Example("drums", {"drums": 1})),
        ("B:kazoo", Example("B:kazoo")),
        ("B:drums,kazoo", Example("B:drums,kazoo")),
        ("a\nb:bass", Example("a\nb", {"bass": 1})),
    ],
)
def test_an_example_in_one_line(text, wanted):
    assert parse_example(text) == wanted
    assert parse_example(text, away=True).away


def test_a_file_with_such_a_name_is_that_file(tmp_path):
    odd = tmp_path / "song@0:10-0:20:drums"
    odd.touch()
    assert parse_example(str(odd)) == Example(str(odd))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no piece"),
        ("B@0:70-", "not a time"),
        ("B:drums=x", "not a number"),
        ("B:drums=1,drums=2", "named twice"),
        ("B:bass=0", "no part has a weight above 0"),
        ("B:bass=-1", "must be a finite number"),
    ],
)
def test_mistakes_in_an_example(text, message):
    with pytest.raises(UsageError, match=message):
        parse_example(text)


def test_weights_become_a_row():
    assert weight_row(None).tolist() == [1] * 5
    assert weight_row({"guitar": 2, "drums": 0}).tolist() == [0, 0, 0, 2, 0]
    for wrong, message in [
        ({"bass": -1}, "the weight of bass must be a finite number"),
        ({"bass": float("nan")}, "the weight of bass"),
        ({"bass": 0}, "no part has a weight above 0"),
        ({"kazoo": 1}, "unknown part 'kazoo'"),
    ]:
        with pytest.raises(UsageError, match=message):
            weight_row(wrong)


@pytest.mark.parametrize(
    ("start", "end", "segments", "name"),
    [
        (None, None, [0, 2, 4, 6, 7], "song 1"),
        (0, 2, [0], "song 1 0:00–0:02"),
        (1.9, 2.1, [0, 2], "song 1 0:01–0:02"),
        (6.5, None, [6, 7], "song 1 0:06–the end"),
        (None, 4.5, [0, 2, 4], "song 1 0:00–0:04"),
    ],
)
def test_a_stretch_takes_the_segments_that_reach_into_it(catalogue, start, end, segments, name):
    query = resolve(catalogue, Example("song 1", None, start, end), np.ones(5), None)
    assert query.start_seconds.tolist() == segments
    assert query.name == name
    assert query.absent_parts == ("piano",)
    assert query.weights.tolist() == [1, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (5, 3, "must end after it starts: 0:05–0:03"),
        (-1, 3, "must end after it starts"),
        (20, None, "song 1 lasts 0:09; nothing lies in 0:20–the end"),
    ],
)
def test_a_stretch_that_cannot_be(catalogue, start, end, message):
    with pytest.raises(UsageError, match=message):
        resolve(catalogue, Example("song 1", None, start, end), np.ones(5), None)


def test_silent_parts_are_refused_if_nothing_else_is_wanted(catalogue):
    with pytest.raises(
        UsageError, match="no piano sounds in song 0; what sounds there: drums, bass"
    ):
        resolve(catalogue, Example("song 0", {"piano": 1}), np.ones(5), None)


def test_stored_and_embedded_segments_agree(catalogue, tmp_path, tiny_model):
    path = catalogue.find("song 1").path
    stored = resolve(catalogue, Example(path), np.array([1.0, 0, 0, 2, 0]), None)
    assert stored.recording is None
    assert not stored.embeddings[:, 1].any()
    outside = tmp_path / "outside.wav"
    outside.write_bytes(path.read_bytes() + b"\0\0")
    found = resolve(
        catalogue, Example(str(outside), {"drums": 1, "guitar": 2}), np.ones(5), tiny_model
    )
    assert found.name == "outside.wav"
    assert found.content != stored.content
    assert found.recording is not None
    assert found.recording.embeddings.shape == (5, 5, 128)
    np.testing.assert_array_equal(found.start_seconds, stored.start_seconds)
    np.testing.assert_array_equal(found.weights, stored.weights)
    for part in (0, 3):
        np.testing.assert_allclose(found.embeddings[:, part], stored.embeddings[:, part], atol=1e-3)


def test_a_file_needs_the_catalogues_own_model(catalogue, tmp_path, other_model_path):
    add_song(tmp_path / "new.wav", 4, 9)
    with pytest.raises(FingerprintError):
        resolve(catalogue, Example(tmp_path / "new.wav"), np.ones(5), load_model(other_model_path))


def test_stored_blocks_come_at_length_1(catalogue):
    vectors = catalogue.vectors()
    query = stored_query(vectors, 1, np.ones(5))
    lengths = np.linalg.norm(query.embeddings, axis=2)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert query.duration_seconds == vectors.pieces[1].duration_seconds


def test_shares_are_over_what_sounds():
    query = made_query(0, [1, 3, 0, 0, 0], segments=20)
    assert query.shares.sum(axis=1) == pytest.approx(np.ones(len(query.start_seconds)))
    for shares, sounding in zip(query.shares, query.sounding, strict=True):
        wanted = {(True, True): [0.25, 0.75], (True, False): [1, 0], (False, True): [0, 1]}
        assert shares[:2].tolist() == wanted[tuple(sounding[:2])]
        assert shares[2:].tolist() == [0] * (len(PARTS) - 2)
