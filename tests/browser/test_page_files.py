"""Files on the page: searching with one's own, playlists."""

import pytest

from browser.conftest import rows, settle, until
from browser.made_songs import SECONDS, TITLES, write_song
from browser.test_page_player import heard

DROP = """async ({ name, bytes }) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name, { type: "audio/flac" }));
  const send = (kind) => document.querySelector("main").dispatchEvent(
    new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: given }));
  send("dragenter");
  const shown = !document.querySelector("#drop").hidden;
  send("dragover");
  send("drop");
  return shown;
}"""


@pytest.fixture(scope="module")
def own_song(tmp_path_factory):
    return write_song(tmp_path_factory.mktemp("own"), 77, "Mine", "Me")


def test_a_chosen_file_is_searched_with_heard_and_drawn(page, own_song):
    page.set_input_files("#file", own_song)
    page.wait_for_selector("#upload[open]")
    settle(page)
    page.wait_for_selector("#upload", state="hidden")
    assert page.inner_text("#desk-title") == "77.flac"
    assert "your file" in page.inner_text("#desk-about")
    assert len(rows(page)) == len(TITLES)
    inked = "import('/page/songs.js').then(({ peaksOf }) => import('/page/state.js')" \
        ".then(({ onDesk }) => peaksOf(onDesk())).then((peaks) => Math.max(...peaks)))"  # fmt: skip
    assert page.evaluate(inked) > 0.3
    page.click("#desk-play")
    heard(page, "a")
    assert page.evaluate("import('/page/player.js').then(({ audio }) => audio.a.src)").startswith(
        "blob:"
    )
    page.reload()
    page.wait_for_selector("text=Drop it here again")


def test_a_dropped_file_is_searched_with(page, own_song):
    given = {"name": "dropped.flac", "bytes": list(own_song.read_bytes())}
    assert page.evaluate(DROP, given)
    settle(page)
    assert page.inner_text("#desk-title") == "dropped.flac"
    assert page.locator("#drop").is_hidden()


def test_a_file_that_is_no_music_and_an_empty_one_are_told_in_words(page, tmp_path):
    page.set_input_files("#file", {"name": "a.mp3", "mimeType": "audio/mpeg", "buffer": b""})
    page.wait_for_selector(".toast")
    assert "“a.mp3” is empty." in page.inner_text(".toast")
    words = {"name": "b.mp3", "mimeType": "audio/mpeg", "buffer": b"no music at all" * 99}
    page.set_input_files("#file", words)
    until(page, "document.querySelectorAll('.toast').length === 2")
    assert page.locator(".toast").last.inner_text().strip()
    assert page.locator("#upload").is_hidden()
    assert page.locator("#desk").is_hidden()


def test_the_matches_are_saved_as_a_playlist(asking, server, playlists):
    asking.click("#open-playlist")
    assert asking.input_value("#playlist-name") == "Like Amber River (all parts)"
    assert "10 songs" in asking.inner_text("#playlist-about")
    asking.uncheck("#playlist-first")
    assert "9 songs" in asking.inner_text("#playlist-about")
    asking.fill("#playlist-name", "My list")
    with asking.expect_download() as waiting:
        asking.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "My list.m3u8"
    lines = waiting.value.path().read_text("utf-8").splitlines()
    assert lines[0] == "#EXTM3U"
    titles = [line for line in lines if line.startswith("#EXTINF:")]
    found = rows(asking)
    assert len(titles) == len(found)
    assert all(title in line for (title, _), line in zip(found, titles, strict=True))
    addresses = [line for line in lines if not line.startswith("#")]
    assert all(one.startswith(f"{server.address}/api/v1/tracks/") for one in addresses)
    asking.click("#open-playlist")
    asking.fill("#playlist-name", "Kept")
    asking.check("#playlist-first")
    asking.click("#playlist-save")
    asking.wait_for_selector("text=Saved “Kept” with 10 songs.")
    kept = (playlists / "Kept.m3u8").read_text("utf-8")
    assert kept.count("#EXTINF:") == 10
    assert f"#EXTINF:{round(SECONDS)}" in kept


def test_new_music_is_indexed_from_the_page(
    open_page, start_server, music, tiny_model, tmp_path_factory
):
    from stemwise.library.catalogue import Catalogue

    folder, place = tmp_path_factory.mktemp("more"), tmp_path_factory.mktemp("growing")
    write_song(folder, 1, "First", "Ada")
    Catalogue.open(place, create=True).index([folder], tiny_model, jobs=1)
    write_song(folder, 2, "Second", "Ada")
    server = start_server(place, music=(folder,))
    page = open_page(server.address)
    page.wait_for_selector("#results .match")
    assert page.inner_text("#open-index") == "1 song"
    page.click("#open-index")
    page.click("#index-start")
    until(page, "document.querySelectorAll('#results .match').length === 2")
    assert "up to date" in page.inner_text("#index-about")
    assert page.inner_text("#open-index") == "2 songs"
    server.stop()
