"""Searching on the page: finding a song, sliders, stretches, several examples, filters, links."""

import re

import pytest

from browser.conftest import choose, has_focus, rows, settle, until
from browser.made_songs import SECONDS, TITLES, WICKED

expect = pytest.importorskip("playwright.sync_api").expect


def searches(page):
    """Return a list that fills with the questions that are sent."""
    sent = []
    page.on(
        "request",
        lambda one: sent.append(one.post_data_json) if one.url.endswith("/search") else None,
    )
    return sent


def weigh(page, part, weight):
    page.locator(f"#board .lane-{part} .lane-slider").evaluate(
        "(slider, weight) => { slider.value = weight; slider.dispatchEvent(new Event('input')); }",
        weight,
    )


def test_a_song_is_found_by_typing_and_what_is_alike_is_listed(page):
    field = page.locator("#finder")
    assert field.get_attribute("aria-expanded") == "false"
    field.fill("cafe")
    expect(page.locator("#found .option-title")).to_have_text(["Ivory Café"])  # of all, at first
    assert field.get_attribute("aria-expanded") == "true"
    field.fill("river")
    until(page, "document.querySelectorAll('#found .option').length === 2")
    page.keyboard.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == "found-1"
    page.keyboard.press("Enter")
    settle(page)
    assert page.inner_text("#desk-title") == "Blue River"
    assert page.locator("#found").is_hidden()
    found = rows(page)
    assert len(found) == len(TITLES) - 1
    assert "Blue River" not in dict(found)
    figures = [int(re.match(r"\d+", figure)[0]) for _, figure in found]
    assert figures == sorted(figures, reverse=True)


def test_enter_before_the_answer_takes_the_song_that_was_typed(page):
    page.locator("#finder").press_sequentially("copper")
    page.keyboard.press("Enter")
    settle(page)
    assert page.inner_text("#desk-title") == "Copper Song"


def test_sliders_change_the_matches(asking):
    all_parts = rows(asking)
    assert asking.locator("#results li").first.locator(".bar").count() == 4  # no piano
    weigh(asking, "drums", 0)
    settle(asking)
    until(asking, "document.querySelectorAll('#results li:first-child .bar').length===3")
    assert rows(asking) != all_parts
    assert asking.locator("#board .lane-drums .lane-value").inner_text() == "off"
    asking.click("text=Drums only")
    until(asking, "document.querySelectorAll('#results li:first-child .bar').length===1")
    assert asking.locator("#board .lane-bass .lane-name").get_attribute("aria-pressed") == "false"
    asking.locator("#board .lane-bass .lane-name").click()
    until(asking, "document.querySelectorAll('#results li:first-child .bar').length===2")
    assert asking.locator("#presets [aria-pressed=true]").inner_text() == "Rhythm"


def test_the_last_of_many_questions_is_the_one_that_is_answered(asking):
    sent = searches(asking)

    held = []
    asking.route("**/api/v1/search", lambda route: held.append(route), times=1)
    weigh(asking, "drums", 0.5)
    asking.wait_for_timeout(250)
    assert len(held) == 1
    weigh(asking, "bass", 0)
    weigh(asking, "guitar", 0)
    weigh(asking, "residuals", 0)
    weigh(asking, "piano", 0)
    until(asking, "document.querySelectorAll('#results li:first-child .bar').length===1")
    held[0].continue_()  # the answer to the first comes last, or never, if the page let go of it
    asking.wait_for_timeout(400)
    settle(asking)
    assert sent[-1]["queries"][0]["parts"] == {"drums": 0.5}
    assert asking.locator("#results li").first.locator(".bar-drums").count() == 1


def test_a_silent_part_is_said_to_be_silent_with_ways_out(asking):
    assert "no piano sounds here" in asking.inner_text(".strip-piano .strip-word")
    assert "No piano sounds" in asking.inner_text("#remark")
    asking.locator("#board .lane-piano").hover()
    asking.locator("#board .lane-piano .lane-solo").click()
    asking.wait_for_selector("#problem:not([hidden])")
    told = asking.inner_text("#problem")
    assert "No piano sounds in “Amber River”." in told
    assert "What does sound: drums, bass, guitar and the rest." in told
    asking.click("text=Use what sounds")
    asking.wait_for_selector("#problem", state="hidden")
    settle(asking)
    assert asking.locator("#results li").first.locator(".bar").count() == 4


def test_no_part_and_nothing_to_come_near_to_are_told(asking):
    asking.click("text=Drums only")
    weigh(asking, "drums", 0)
    asking.wait_for_selector("#problem:not([hidden])")
    assert "Every part is off" in asking.inner_text("#problem")
    asking.click("#problem >> text=All parts")
    asking.wait_for_selector("#problem", state="hidden")


def test_a_stretch_is_chosen_by_dragging_keys_and_figures(asking):
    sent = searches(asking)
    box = asking.locator("#stretch").bounding_box()

    def along(share):
        return box["x"] + share * box["width"]

    asking.mouse.move(along(0.25), box["y"] + 30)
    asking.mouse.down()
    asking.mouse.move(along(0.4), box["y"] + 30)
    asking.mouse.move(along(0.75), box["y"] + 30)
    asking.mouse.up()
    asking.wait_for_timeout(300)
    settle(asking)
    query = sent[-1]["queries"][0]
    assert query["from"] == pytest.approx(0.25 * SECONDS, abs=0.2)
    assert query["to"] == pytest.approx(0.75 * SECONDS, abs=0.2)
    assert asking.input_value("#from") == "0:03"
    end = asking.locator("#handle-to")
    end.focus()
    asking.keyboard.press("ArrowLeft")
    assert end.get_attribute("aria-valuenow") == "8"
    assert end.get_attribute("aria-valuetext") == "8 seconds"
    asking.fill("#from", "0:05")
    asking.keyboard.press("Enter")
    until(asking, "location.hash.includes('@5-8')")
    asking.locator("#desk-title").click()
    asking.keyboard.press("Escape")
    until(asking, "!location.hash.includes('@')")
    assert asking.input_value("#to") == "0:12"


def test_parts_of_several_songs_and_songs_to_avoid(asking):
    sent = searches(asking)
    asking.click("text=Drums only")
    asking.click("#add")
    assert has_focus(asking, "#finder")
    choose(asking, "copper")
    until(asking, "document.querySelectorAll('#examples .tag').length === 2")
    settle(asking)
    assert asking.inner_text("#examples .tag >> nth=1") == (
        "and bass, guitar and the rest of Copper Song"
    )
    asking.locator("#results li").first.hover()
    asking.locator("#results [aria-label^='Less like this']").first.click()
    until(asking, "document.querySelectorAll('#examples .tag.away').length === 1")
    settle(asking)
    assert [query["away"] for query in sent[-1]["queries"]] == [False, False, True]
    assert "of " in asking.locator("#results .passage-query").first.inner_text()
    for _ in range(2):
        asking.locator("#examples .tag-close").last.click()
    asking.wait_for_selector("#examples", state="hidden")
    settle(asking)
    assert len(sent[-1]["queries"]) == 1


def test_search_goes_on_from_a_match_and_back_returns(asking):
    first = asking.inner_text("#desk-title")
    title = rows(asking)[0][0]
    asking.click("text=Drums only")
    asking.locator("#results .from-here").first.click()
    until(asking, "title => document.querySelector('#desk-title').textContent === title",
                             arg=title)  # fmt: skip
    assert asking.locator("#presets [aria-pressed=true]").inner_text() == "Drums only"
    asking.go_back()
    until(asking, "title => document.querySelector('#desk-title').textContent === title",
                             arg=first)  # fmt: skip


def test_the_address_restores_song_stretch_weights_and_filters(asking, open_page):
    asking.click("text=Rhythm")
    asking.fill("#to", "0:06")
    asking.keyboard.press("Enter")
    asking.click("#open-filters")
    asking.fill("[aria-label='Year, from']", "2002")
    asking.keyboard.press("Tab")
    asking.fill("#per-artist", "1")
    asking.keyboard.press("Tab")
    until(asking, "location.hash.includes('per_artist=1')")
    settle(asking)
    again = open_page(asking.url)
    settle(again)
    assert again.inner_text("#desk-title") == "Amber River"
    assert again.input_value("#to") == "0:06"
    assert again.locator("#presets [aria-pressed=true]").inner_text() == "Rhythm"
    assert again.inner_text("#open-filters") == "Filters (2)"
    assert rows(again) == rows(asking)
    assert len(rows(again)) == 3  # one of each artist


def test_filters_leave_songs_out(asking):
    asking.click("#open-filters")
    asking.fill("#filter-artists", "Cleo")
    asking.keyboard.press("Enter")
    until(asking, "document.querySelectorAll('#results .match').length === 3")
    asking.click("[aria-label='Remove Cleo']")
    asking.fill("[aria-label='Year, from']", "1950")
    asking.fill("[aria-label='Year, to']", "1960")
    asking.keyboard.press("Tab")
    asking.wait_for_selector("text=The filters leave no song over")
    asking.click("#clear-filters")
    until(asking, "document.querySelectorAll('#results .match').length === 9")


def test_tags_are_never_taken_for_html(page):
    assert page.locator("#results .match-title", has_text=WICKED).count() == 1
    choose(page, "onerror")
    assert page.inner_text("#desk-title") == WICKED
    assert page.locator("main img").count() == 0
    page.click("#view-map")
    page.wait_for_selector("#map-songs .match")
    assert page.locator("#map-songs .match-title", has_text=WICKED).count() == 1
    assert page.title() == "Stemwise"
