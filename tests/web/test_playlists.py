from urllib.parse import unquote

import pytest


def test_a_playlist_is_text_that_players_can_follow(client, ids, music):
    body = {"name": "Ein Abend\nfür zwei", "tracks": [ids["song 2"], ids["odd"]]}
    answer = client.post("/playlists", json=body)
    assert answer.headers["content-type"].startswith("audio/x-mpegurl")
    disposition = unquote(answer.headers["content-disposition"])
    assert disposition == "attachment; filename*=UTF-8''Ein Abendfür zwei.m3u8"
    assert answer.text.splitlines() == [
        "#EXTM3U",
        "#PLAYLIST:Ein Abend für zwei",
        "#EXTINF:7,song 2",
        f"http://127.0.0.1/api/v1/tracks/{ids['song 2']}/audio",
        "#EXTINF:6,odd",
        f"http://127.0.0.1/api/v1/tracks/{ids['odd']}/audio",
    ]
    assert client.get(answer.text.splitlines()[3]).status_code == 200


def test_saving_needs_a_folder(client, ids, failure):
    body = {"name": "x", "tracks": [ids["odd"]], "save": True}
    assert "--playlists" in failure(client.post("/playlists", json=body), 409, "conflict")["hint"]


def test_a_playlist_is_saved_with_relative_paths(stored, music, ids, start, tmp_path, failure):
    with start(stored, playlists=tmp_path) as client:
        body = {"name": "für zwei", "tracks": [ids["song 2"]], "save": True}
        assert client.post("/playlists", json=body).json() == {"name": "für zwei", "tracks": 1}
        lines = (tmp_path / "für zwei.m3u8").read_text().splitlines()
        assert (tmp_path / lines[-1]).resolve() == music / "song 2.wav"
        failure(client.post("/playlists", json=body), 409, "conflict")
        for name in ("../x", "a/b", ".hidden", "a\\b", "x" * 250, "   "):
            answer = client.post("/playlists", json={**body, "name": name})
            assert answer.status_code in (409, 422), name
            failure(answer, answer.status_code, answer.json()["code"])
    assert [path.name for path in tmp_path.iterdir()] == ["für zwei.m3u8"]


@pytest.mark.parametrize("tracks", [[], ["0123456789ab"], ["x"]])
def test_wrong_tracks_are_told(client, tracks, failure):
    answer = client.post("/playlists", json={"name": "x", "tracks": tracks})
    failure(answer, 404 if tracks == ["0123456789ab"] else 422, answer.json()["code"])
