from dataclasses import replace

import numpy as np
import pytest

from made_music import tone, write_sndfile
from stemwise.errors import ModelError, UsageError
from stemwise.library.duplicates import Recordings, recording_distance
from stemwise.library.embed import embed_file
from stemwise.library.held_out import Mixture, calibrate_model, describe_mixtures


def mixtures(count, seconds=5.0):
    return [
        Mixture(f"piece {k}", f"song {k // 2}", tone(seconds + 0.1 * k, 8000, k))
        for k in range(count)
    ]


def test_mixtures_are_described_like_files(tmp_path, tiny_model):
    chosen = mixtures(3)
    vectors, songs = describe_mixtures(tiny_model, chosen)
    assert sorted(songs.tolist()) == [0, 0, 1]
    assert vectors.fingerprint == tiny_model.fingerprint
    for mixture in chosen:
        (k,) = [k for k, p in enumerate(vectors.pieces) if p.title == mixture.name]
        path = write_sndfile(tmp_path / "x.wav", mixture.wave, 8000, subtype="FLOAT")
        wanted = embed_file(path, tiny_model)
        rows = vectors.rows(k)
        np.testing.assert_array_equal(vectors.start_seconds[rows], wanted.start_seconds)
        np.testing.assert_allclose(vectors.presence[rows], wanted.presence, atol=1e-5)
        for part in range(5):
            found = vectors.block(part)[rows]
            np.testing.assert_allclose(found, wanted.embeddings[:, part], atol=1e-5)


def test_silence_sounds_nowhere(tiny_model):
    vectors, _ = describe_mixtures(tiny_model, [Mixture("a", "a", np.zeros(40000, np.float32))])
    assert not vectors.presence.any()


def test_a_model_is_calibrated_on_pairs_of_different_songs(tiny_model):
    found = calibrate_model(tiny_model, mixtures(30, 2.0), {"corpus": "made"})
    assert found.fingerprint == tiny_model.fingerprint
    assert found.source == "held-out pieces"
    assert found.about["corpus"] == "made"
    assert (found.about["pieces"], found.about["songs"]) == (30, 15)
    assert found.about["pairs"]["bass"] == 30 * 28
    assert found.about["pairs"]["piano"] == 0  # never sounds: a straight line
    np.testing.assert_allclose(np.diff(found.quantiles[2], 2)[20:60], 0, atol=1e-9)


def test_the_radius_is_how_far_a_cut_takes_pieces(tiny_model, monkeypatch):
    chosen = [*mixtures(29, 4.0), Mixture("short", "short", tone(2.0, 8000, 99))]  # not cut
    monkeypatch.setattr("stemwise.library.duplicates._SHARE_OF_OTHERS", np.inf)
    found = calibrate_model(tiny_model, chosen, {})
    cut = [replace(one, wave=one.wave[9600:]) for one in chosen[:29]]
    whole, rest = (describe_mixtures(tiny_model, some)[0] for some in (chosen[:29], cut))
    apart = [recording_distance(Recordings(rest)[k], Recordings(whole)[k]) for k in range(29)]
    assert found.recording_radius == pytest.approx(max(apart), rel=1e-5)
    monkeypatch.setattr("stemwise.library.duplicates._SHARE_OF_OTHERS", 1e-6)
    assert calibrate_model(tiny_model, chosen, {}).recording_radius < max(apart) / 10


def test_too_few_pieces_and_a_model_of_stems_are_refused(tiny_model, monkeypatch):
    with pytest.raises(UsageError, match="needs 30 pieces or more, and there are 29"):
        calibrate_model(tiny_model, mixtures(29, 2.0), {})
    monkeypatch.setattr(tiny_model, "takes_stems", True)
    with pytest.raises(ModelError, match="reads stems"):
        calibrate_model(tiny_model, [], {})
