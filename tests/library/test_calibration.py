import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_vectors import made, made_query, piece, unit
from stemwise.errors import UsageError
from stemwise.library import calibration as module
from stemwise.library.calibration import (
    LEVELS,
    UNCALIBRATED,
    Calibration,
    calibrate,
    calibration_beside,
    calibration_of,
    read_calibration,
    recording_radius_of,
    write_calibration,
)
from stemwise.library.distances import Space, piece_distances
from stemwise.library.query import stored_query
from stemwise.library.vectors import RECORDING_RADIUS, vectors_in_memory
from stemwise.models.checkpoint import load_model, shipped_models
from stemwise.parts import PARTS

weight_rows = st.lists(st.sampled_from([0, 0, 0.3, 1, 2.5]), min_size=5, max_size=5).filter(any)
POWERS = np.array([1, 2, 3, 0.5, 1.5])
BENT = Calibration(
    4 * LEVELS ** POWERS[:, None], "held-out pieces", "f" * 16, {"corpus": "made"}, 0.03
)


@pytest.mark.parametrize("part", range(5))
def test_with_one_part_it_is_the_share_of_unrelated_pieces_that_are_farther(part):
    space = Space.plain(made(part, pieces=40, share=0.8))
    songs = np.arange(40) // 2
    found = calibrate(space, songs, source="this catalogue", about={})
    unrelated = []
    for k in range(40):
        query = stored_query(space.vectors, k, np.eye(5)[part])
        heard = query.sounding[:, part]
        if heard.any():
            apart = piece_distances(space, query.only(heard))
            there = space.vectors.counts(part) > 0
            unrelated += apart[there & (songs != songs[k])].tolist()
    unrelated = np.array(unrelated)
    for distance in np.quantile(unrelated, [0.02, 0.2, 0.5, 0.77, 0.98]):
        wanted = (unrelated > distance).mean()
        assert found.similarity(distance, np.eye(5)[part]) == pytest.approx(wanted, abs=0.01)
    assert found.about["pairs"][PARTS[part]] == len(unrelated)
    assert found.similarity(0.0, np.eye(5)[part]) == 1
    assert found.similarity(4.0, np.eye(5)[part]) == 0


@given(weight_rows, st.floats(0, 1))
def test_over_several_parts_it_solves_its_equation(weights, similarity):
    weights = np.array(weights)
    each = [np.interp(1 - similarity, LEVELS, row) for row in BENT.quantiles]
    distance = (weights / weights.sum()) @ each
    assert BENT.similarity(distance, weights) == pytest.approx(similarity, abs=1e-6)
    assert BENT.distance_at(1 - similarity, weights) == pytest.approx(distance, abs=1e-6)


@given(weight_rows, st.lists(st.floats(-0.5, 6), min_size=2, max_size=20))
def test_it_falls_with_the_distance_and_stays_in_0_to_1(weights, distances):
    found = BENT.similarity(np.sort(distances), np.array(weights))
    assert (np.diff(found) <= 0).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_parts_of_different_spread_get_the_same_scale():
    """Drums of unrelated pieces are far apart, guitars near; 0.9 means the same for both."""
    rng = np.random.default_rng(0)
    middle = unit(rng, 1)
    embeddings = unit(rng, 60, 4, 5)
    embeddings[:, :, 3] = 0.3 * embeddings[:, :, 3] + middle
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    vectors = vectors_in_memory(
        [piece(k) for k in range(60)], [10.0 * np.arange(4)] * 60, list(embeddings),
        [np.ones((4, 5), np.float32)] * 60,
    )  # fmt: skip
    space = Space.plain(vectors)
    found = calibrate(space, np.arange(60), source="this catalogue", about={})
    assert found.distance_at(0.1, np.eye(5)[0]) > 4 * found.distance_at(0.1, np.eye(5)[3])
    for part in (0, 3):
        weights = np.eye(5)[part]
        told = [
            found.similarity(piece_distances(space, made_query(s, weights, segments=4)), weights)
            for s in range(3)
        ]
        if part == 0:  # random queries are unrelated in the same way: uniform similarities
            assert np.mean(told) == pytest.approx(0.5, abs=0.12)
    shares = [
        np.mean([
            found.similarity(piece_distances(space, stored_query(vectors, k, np.eye(5)[p])),
                             np.eye(5)[p])[np.arange(60) != k] > 0.9
            for k in range(60)
        ])
        for p in (0, 3)
    ]  # fmt: skip
    assert shares == pytest.approx([0.1, 0.1], abs=0.01)


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "new" / "x.calibration.json"
    assert read_calibration(path) is None
    write_calibration(BENT, path)
    again = read_calibration(path)
    np.testing.assert_allclose(again.quantiles, BENT.quantiles)
    assert (again.source, again.fingerprint, again.about, again.recording_radius) == (
        BENT.source, BENT.fingerprint, BENT.about, 0.03,
    )  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_radius_is_that_of_the_model_where_it_is_known(tmp_path):
    weights = str(tmp_path / "m.safetensors")
    assert recording_radius_of(weights, "f" * 16) == RECORDING_RADIUS
    beside = calibration_beside(weights)
    write_calibration(BENT, beside)
    assert recording_radius_of(weights, "f" * 16) == 0.03
    assert recording_radius_of(weights, "e" * 16) == RECORDING_RADIUS
    written = json.loads(beside.read_text())
    del written["recording_radius"]  # as files were before
    beside.write_text(json.dumps(written))
    assert recording_radius_of(weights, "f" * 16) == RECORDING_RADIUS


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(recording_radius="wide"),
        lambda d: d.pop("fingerprint"),
        lambda d: d["quantiles"].pop("bass"),
        lambda d: d["quantiles"].update(bass=[0, 4]),
        lambda d: d["quantiles"].update(bass=d["quantiles"]["bass"][::-1]),
        lambda d: d["levels"].append(2),
    ],
)
def test_a_damaged_calibration_says_so(tmp_path, change):
    path = tmp_path / "x.calibration.json"
    write_calibration(BENT, path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"is no calibration: .* make it again with"):
        read_calibration(path)
    path.write_text("{")
    with pytest.raises(UsageError, match="is no calibration"):
        read_calibration(path)


def test_the_first_source_that_is_there_is_taken(tmp_path):
    weights = tmp_path / "m.safetensors"
    few, many = (made(0, pieces=count) for count in (29, 30))
    for vectors in (few, many):
        object.__setattr__(vectors, "fingerprint", "f" * 16)
    folder = tmp_path / "search"
    assert calibration_of(few, str(weights), folder) is UNCALIBRATED
    own = calibration_of(many, str(weights), folder)
    assert own.source == "this catalogue"
    assert (folder / "calibration.json").exists()
    write_calibration(BENT, calibration_beside(str(weights)))
    assert calibration_of(many, str(weights), folder).source == "held-out pieces"
    assert calibration_of(few, str(weights), folder).source == "held-out pieces"
    object.__setattr__(many, "fingerprint", "e" * 16)  # of another model: passed over
    assert calibration_of(many, str(weights), None).source == "this catalogue"


def test_a_catalogues_own_is_kept_until_it_has_grown_fourfold(tmp_path, monkeypatch):
    made_from = []
    real = calibrate

    def watched(space, *args, **options):
        made_from.append(len(space.vectors.pieces))
        return real(space, *args, **options)

    monkeypatch.setattr(module, "calibrate", watched)
    for count in (30, 30, 119, 120):
        calibration_of(made(0, pieces=count), str(tmp_path / "none"), tmp_path)
    assert made_from == [30, 100]  # a hundred of them are enough
    (tmp_path / "calibration.json").write_text("{")  # damaged: made again, not an error
    calibration_of(made(0, pieces=30), str(tmp_path / "none"), tmp_path)
    assert made_from == [30, 100, 30]


def test_a_model_has_its_calibration_beside_it(tmp_path):
    assert calibration_beside(str(tmp_path / "m.safetensors")) == tmp_path / "m.calibration.json"
    assert calibration_beside(str(tmp_path)) == tmp_path / "calibration.json"
    assert calibration_beside("compact").parent == shipped_models()["compact"].parent


@pytest.mark.parametrize("name", list(shipped_models()))
def test_every_shipped_model_is_calibrated_on_held_out_pieces(name):
    found = read_calibration(calibration_beside(name))
    assert found is not None, f"run: stemwise calibrate {name} --corpus data/band"
    assert found.fingerprint == load_model(name).fingerprint
    assert found.source == "held-out pieces"
    assert found.about["split"] != "train"
    assert min(found.about["pairs"].values()) > 1000
    assert (np.diff(found.quantiles, axis=1) >= 0).all()
    assert 0.02 < found.recording_radius < 0.1  # mixes of one another lie at 0.106 and more
