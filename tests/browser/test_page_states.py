"""The page in all its states: errors, tokens, emptiness, colours, narrow screens, accessibility."""

import pytest

from browser.conftest import choose, settle, until
from stemwise.library.catalogue import Catalogue

TOKEN = "a-token-of-the-tests"


def faults(page):
    """Return what axe finds that is serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def test_a_server_that_has_gone_is_told_and_found_again(open_page, start_server, place):
    server = start_server(place)
    page = open_page(server.address)
    page.wait_for_selector(".match")
    choose(page, "amber")
    server.kill()
    page.click("text=Drums only")
    page.wait_for_selector("#problem:not([hidden])")
    assert "The server does not answer." in page.inner_text("#problem")
    assert "stemwise serve" in page.inner_text("#problem")
    assert page.locator("#results .match").count() == 9  # what was found is still there
    assert faults(page) == []
    server.start()
    page.click("text=Try again")
    page.wait_for_selector("#problem", state="hidden")
    settle(page)
    assert page.locator("#results li").first.locator(".bar").count() == 1
    server.stop()


def test_a_token_is_asked_for_or_taken_from_the_link(open_page, start_server, place):
    server = start_server(place, token=TOKEN)
    page = open_page(server.address)
    page.wait_for_selector("#gate[open]")
    assert faults(page) == []
    page.fill("#gate-token", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=That is not the token of this server.")
    page.fill("#gate-token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector(".match")
    assert page.locator("#gate").is_hidden()
    page.reload()
    page.wait_for_selector(".match")  # the cookie lets it in
    linked = open_page(f"{server.address}/#token={TOKEN}")
    linked.wait_for_selector(".match")
    assert TOKEN not in linked.url
    linked.locator("#results .match-play").first.click()
    until(linked, "import('/page/player.js').then(({ audio }) => audio.b.currentTime > 0)")
    server.stop()


def test_an_empty_collection_says_what_to_do(open_page, start_server, tiny_model, tmp_path_factory):
    place, nothing = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("nothing")
    Catalogue.open(place, create=True).index([nothing], tiny_model, jobs=1)
    server = start_server(place)
    page = open_page(server.address)
    page.wait_for_selector("text=stemwise index FOLDER")
    assert page.inner_text("#results-title") == "The collection is empty"
    assert faults(page) == []
    server.stop()


def test_a_song_that_is_not_there_any_more_is_told(open_page, server):
    page = open_page(f"{server.address}/#q=0123456789ab")
    page.wait_for_selector(".toast")
    page.wait_for_selector(".match")
    assert page.locator("#desk").is_hidden()


def test_nothing_is_found_by_a_word_that_no_song_has(page):
    page.fill("#finder", "zzzz")
    page.wait_for_selector("text=No song with “zzzz” in its title, artist or album.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(open_page, server, scheme):
    page = open_page(server.address, color_scheme=scheme)
    page.wait_for_selector(".match")
    assert faults(page) == []
    page.focus("#finder")
    page.wait_for_selector("#found .option")
    assert faults(page) == []
    choose(page, "amber")
    page.click("#open-filters")
    page.locator("#results [aria-label^='Less like this']").first.click()
    page.locator("#results .match-play").first.click()
    page.wait_for_selector("#deck:not([hidden])")
    settle(page)
    page.wait_for_timeout(300)  # transitions of colours
    assert faults(page) == []
    for opener, dialog in (("#open-help", "#help"), ("#open-playlist", "#playlist"),
                           ("#open-index", "#index")):  # fmt: skip
        page.click(opener)
        assert faults(page) == []
        page.keyboard.press("Escape")
        page.wait_for_selector(dialog, state="hidden")
    page.click("#view-map")
    page.wait_for_selector("#map-songs .match")
    page.focus("#chart")
    page.keyboard.press("ArrowRight")
    assert faults(page) == []


def test_colours_follow_the_system_until_the_reader_chooses(open_page, server):
    page = open_page(server.address, color_scheme="dark")
    page.wait_for_selector(".match")

    def brightness():
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(one) for one in ground[4:-1].split(",")) / 3

    assert brightness() < 60
    page.click("#theme")
    assert brightness() > 200
    page.reload()
    page.wait_for_selector(".match")
    assert brightness() > 200
    assert page.locator("#theme").get_attribute("aria-pressed") == "false"


def test_a_narrow_screen_needs_no_sideways_scrolling_and_touch_works(open_page, server):
    page = open_page(server.address, 360, 740, has_touch=True)
    page.wait_for_selector(".match")

    def fits():
        return page.evaluate("document.documentElement.scrollWidth") <= 360

    assert fits()
    choose(page, "amber")
    assert fits()
    page.tap("#add")
    choose(page, "onerror")
    page.tap("#open-filters")
    page.locator("#results .match-play").first.tap()
    page.wait_for_selector("#deck:not([hidden])")
    settle(page)
    assert fits()
    for control in page.locator("button:visible, .lane-slider:visible").all():
        box = control.bounding_box()
        assert min(box["width"], box["height"]) >= 24, control.evaluate("one => one.outerHTML")
    assert faults(page) == []
    page.tap("#view-map")
    page.wait_for_selector("#map-songs .match")
    assert fits()


def test_reduced_motion_moves_nothing(open_page, server):
    page = open_page(f"{server.address}/#view=map", reduced_motion="reduce")
    page.wait_for_selector("#map-songs .match")
    began = "import('/page/map.js').then(({ mapChart }) => mapChart().began)"
    page.click("[data-part=guitar]")
    page.wait_for_selector("text=alike in guitar")
    assert page.evaluate(f"{began}.then((value) => value === -Infinity)")


def test_nothing_is_asked_of_other_servers(page, server):
    asked = []
    page.on("request", lambda one: asked.append(one.url))
    page.reload()
    page.wait_for_selector(".match")
    choose(page, "amber")
    page.click("#view-map")
    page.wait_for_selector("#map-songs .match")
    assert asked
    assert all(one.startswith((server.address, "blob:")) for one in asked)
