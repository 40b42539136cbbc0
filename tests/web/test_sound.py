import io

import numpy as np
import pytest
import soundfile

from made_collection import add_song
from made_music import write_separating_model
from stemwise.audio import load
from stemwise.library.catalogue import Catalogue
from stemwise.library.separation import separated
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS


def read(response):
    sound, rate = soundfile.read(io.BytesIO(response.content))
    return sound, rate


def test_a_file_comes_as_it_is_with_ranges(client, ids, music):
    whole = (music / "song 2.wav").read_bytes()
    path = f"/tracks/{ids['song 2']}/audio"
    answer = client.get(path)
    assert answer.content == whole
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["accept-ranges"] == "bytes"
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert client.get(path, headers={"Range": "bytes=-10"}).content == whole[-10:]
    assert client.get(path, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_a_stretch_comes_as_wav(client, ids, music):
    answer = client.get(f"/tracks/{ids['song 2']}/audio", params={"from": 1.25, "to": 3})
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    sound, rate = read(answer)
    expected = load(music / "song 2.wav", 8000, 1.25, 1.75)
    assert rate == 8000
    assert np.abs(sound - expected).max() < 1e-4
    rest, _ = read(client.get(f"/tracks/{ids['song 2']}/audio", params={"from": 6}))
    assert len(rest) == 8000  # up to the end, at 7 s


@pytest.mark.parametrize("stretch", [{"from": 3, "to": 3}, {"from": 99}, {"from": 4, "to": 2}])
def test_a_stretch_of_nothing_is_told(client, ids, stretch, failure):
    answer = client.get(f"/tracks/{ids['song 2']}/audio", params=stretch)
    assert "'song 2' lasts 7.0 s" in failure(answer, 422, "unprocessable")["message"]


def test_odd_formats_come_as_flac_with_ranges(client, ids, music):
    path = f"/tracks/{ids['odd']}/audio"
    answer = client.get(path)
    assert answer.headers["content-type"] == "audio/flac"
    sound, rate = read(answer)
    assert rate == 44100
    expected = load(music / "odd.m4a", 44100)
    assert sound.shape == (len(expected), 2)
    assert np.abs(sound - expected[:, None]).max() < 1e-4
    part = client.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, answer.content[4:8])


@pytest.fixture(scope="module")
def separating(tmp_path_factory, start):
    """A song of 7 s, in a catalogue whose model separates: its file, its address, a client."""
    folder = tmp_path_factory.mktemp("separating")
    song = add_song(folder / "music" / "song.wav", 7, 2)
    model = load_model(write_separating_model(folder / "separating.safetensors"))
    catalogue = Catalogue.open(folder / "catalogue", create=True)
    catalogue.index(folder / "music", model)
    with start(catalogue) as client:
        track = client.get("/tracks").json()["items"][0]["id"]
        yield song, f"/tracks/{track}/audio", client, model


def test_a_part_alone_comes_as_the_model_separates_it(separating):
    song, path, client, model = separating
    assert client.get("/health").json()["features"]["separate"] is True
    answer = client.get(path, params={"part": "bass", "from": 1.25, "to": 6})
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    sound, rate = read(answer)
    mixture = load(song, 8000, 1.25, 4.75)
    expected = np.concatenate(list(separated([mixture], model, "bass")))
    assert (rate, len(sound)) == (8000, len(expected))
    assert np.abs(sound - expected).max() < 1e-4
    assert np.abs(sound - mixture).max() > 0.01


@pytest.mark.parametrize("query", [{"part": "bass"}, {"from": 1.25}])
def test_players_can_jump_in_what_is_made_while_it_is_sent(separating, query):
    _, path, client, _ = separating
    whole = client.get(path, params=query)
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    size = len(whole.content)
    for first in (0, 7, 44, 45, 20_000, 70_001, size - 1):
        answer = client.get(path, params=query, headers={"Range": f"bytes={first}-"})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {first}-{size - 1}/{size}"
        assert answer.content == whole.content[first:]
    beyond = client.get(path, params=query, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")


def test_the_parts_of_a_whole_song_add_up_to_it(separating):
    song, path, client, _ = separating
    sounds = [read(client.get(path, params={"part": part}))[0] for part in PARTS]
    mixture = load(song, 8000)
    assert np.abs(np.sum(sounds, axis=0) - mixture).max() < 0.02 * np.abs(mixture).max()
    assert min(np.abs(sound).max() for sound in sounds) > 0


def test_a_model_that_does_not_separate_is_told(client, ids, failure):
    answer = client.get(f"/tracks/{ids['song 2']}/audio", params={"part": "drums"})
    assert "that separates" in failure(answer, 409, "conflict")["hint"]
    failure(client.get(f"/tracks/{ids['song 2']}/audio?part=flute"), 422, "unprocessable")


def test_waveforms_follow_the_sound(client, ids, music, failure):
    found = client.get(f"/tracks/{ids['song 2']}/waveform", params={"points": 70}).json()
    assert found["duration_seconds"] == 7
    sound = np.abs(load(music / "song 2.wav", 8000)).reshape(70, -1).max(axis=1)
    assert np.abs(np.array(found["peaks"]) - sound).max() < 0.05
    assert len(client.get(f"/tracks/{ids['song 2']}/waveform").json()["peaks"]) == 800
    failure(client.get(f"/tracks/{ids['song 2']}/waveform?points=0"), 422, "unprocessable")


def test_files_that_have_gone_or_broken_are_told(tmp_path, start, tiny_model, failure):
    gone = add_song(tmp_path / "music" / "gone.wav", 5)
    broken = add_song(tmp_path / "music" / "broken.wav", 6, 1)
    catalogue = Catalogue.open(tmp_path / "catalogue", create=True)
    catalogue.index(tmp_path / "music", tiny_model)
    gone.unlink()
    broken.write_bytes(b"no music")
    with start(catalogue) as client:
        ids = {item["title"]: item["id"] for item in client.get("/tracks").json()["items"]}
        for route in ("audio", "waveform", "audio?from=1"):
            found = failure(client.get(f"/tracks/{ids['gone']}/{route}"), 404, "not_found")
            assert str(tmp_path) not in found["message"]
            answer = client.get(f"/tracks/{ids['broken']}/{route}")
            found = failure(answer, 415, "unsupported_audio")
            assert str(tmp_path) not in str(found)
