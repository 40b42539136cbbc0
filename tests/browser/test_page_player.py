"""Hearing on the page: from the matching moment, query and match in turn."""

import pytest

from browser.conftest import choose, settle, until
from made_music import write_separating_model
from stemwise.library.catalogue import Catalogue
from stemwise.models.checkpoint import load_model

STATE = """async () => {
  const { audio } = await import('/page/player.js');
  const { now } = await import('/page/state.js');
  const { playing } = now();
  return {
    side: playing.side,
    a: { time: audio.a.currentTime, paused: audio.a.paused, moment: playing.sources.a?.moment },
    b: { time: audio.b.currentTime, paused: audio.b.paused, moment: playing.sources.b?.moment },
  };
}"""


HEARD = """async () => {
  const { audio } = await import('/page/player.js');
  return { source: audio.b.currentSrc, time: audio.b.currentTime };
}"""


def heard(page, side):
    """Wait until one side is heard; return the player's state."""
    until(
        page,
        """async side => {
          const { audio } = await import('/page/player.js');
          return !audio[side].paused && audio[side].readyState >= 2 && audio[side].currentTime > 0;
        }""",
        arg=side,
    )
    return page.evaluate(STATE)


def seconds(text):
    minutes, rest = text.split(":")
    return 60 * int(minutes) + int(rest)


def play_late_match(page):
    """Play a match that is not at its beginning; return its row and where it matches."""
    times = page.locator("#results .passage b").all_inner_texts()
    place = max(range(len(times)), key=lambda i: seconds(times[i]))
    row = page.locator("#results .match").nth(place)
    row.locator(".match-play").click()
    return row, seconds(times[place])


def test_a_match_plays_from_its_passage_and_pauses(asking):
    row, moment = play_late_match(asking)
    assert moment > 0
    state = heard(asking, "b")
    assert state["b"]["moment"] == pytest.approx(moment, abs=0.5)
    assert moment - 0.6 <= state["b"]["time"] < moment + 3
    assert state["a"]["paused"]
    asking.wait_for_selector("#results .match.current")
    assert row.locator(".match-play").get_attribute("aria-label").startswith("Pause")
    row.locator(".match-play").click()
    until(asking, "document.querySelector('#deck .round').ariaLabel === 'Play'")
    assert asking.evaluate(STATE)["b"]["paused"]


def test_a_and_b_switch_at_the_matching_moments(asking):
    play_late_match(asking)
    before = heard(asking, "b")
    asking.locator("body").press("a")
    state = heard(asking, "a")
    assert state["side"] == "a"
    assert state["b"]["paused"]
    since = state["a"]["time"] - state["a"]["moment"]
    assert since == pytest.approx(before["b"]["time"] - before["b"]["moment"], abs=2)
    asking.locator("#deck .side").nth(1).click()
    state = heard(asking, "b")
    assert state["a"]["paused"]
    asking.locator("body").press("x")
    assert heard(asking, "a")["side"] == "a"
    asking.locator("#deck [aria-label='Close the player']").click()
    asking.wait_for_selector("#deck", state="hidden")
    assert asking.evaluate("import('/page/player.js').then(({ audio }) => audio.a.paused)")


def test_query_and_match_take_turns(asking):
    play_late_match(asking)
    heard(asking, "b")
    asking.click("#deck >> text=In turn")
    asking.evaluate(
        """async () => {
          const { audio } = await import('/page/player.js');
          const { now, set } = await import('/page/state.js');
          const { playing } = now();
          const b = { ...playing.sources.b, moment: audio.b.currentTime - 9.8 };
          set({ playing: { ...playing, sources: { ...playing.sources, b } } });
        }"""
    )
    assert heard(asking, "a")["side"] == "a"


def test_the_waveform_is_clicked_to_hear_the_query_from_there(asking):
    box = asking.locator("#stretch").bounding_box()
    asking.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 60)
    state = heard(asking, "a")
    assert state["a"]["moment"] == pytest.approx(6, abs=0.2)
    assert asking.locator("#needle").is_visible()
    assert "@" not in asking.url
    seek = asking.locator("#deck .deck-seek")
    seek.focus()
    asking.keyboard.press("Home")
    until(asking, "import('/page/player.js').then(({ audio }) => audio.a.currentTime < 4)")


def test_a_file_that_has_gone_is_told(asking):
    asking.route("**/audio", lambda route: route.fulfill(status=404, body="{}"))
    asking.locator("#results .match-play").first.click()
    asking.wait_for_selector("#deck .deck-problem:not([hidden])")
    assert "cannot be played" in asking.inner_text("#deck .deck-problem")


def test_keys_go_through_the_matches_and_are_never_taken_from_typing(asking):
    body = asking.locator("body")
    asking.evaluate("document.activeElement.blur()")
    body.press("ArrowDown")
    body.press("ArrowDown")
    assert asking.evaluate(
        "[...document.querySelectorAll('#results .match')].indexOf("
        "document.activeElement.closest('.match'))"
    ) == 1  # fmt: skip
    asking.keyboard.press(" ")
    heard(asking, "b")
    asking.keyboard.press(" ")
    until(asking, "import('/page/player.js').then(({ audio }) => audio.b.paused)")
    asking.keyboard.press("/")
    assert asking.evaluate("document.activeElement.id") == "finder"
    asking.keyboard.type("a b/?m x")
    assert asking.input_value("#finder") == "a b/?m x"
    assert asking.locator("#help").is_hidden()
    assert asking.locator("#map-view").is_hidden()
    asking.keyboard.press("Escape")
    asking.keyboard.press("Escape")
    assert asking.evaluate("document.activeElement.id") != "finder"
    asking.keyboard.press("?")
    assert asking.locator("#help").is_visible()
    asking.keyboard.press("m")
    assert asking.locator("#map-view").is_hidden()
    asking.uncheck("#keys-on")
    asking.keyboard.press("Escape")
    asking.keyboard.press("m")
    assert asking.locator("#map-view").is_hidden()
    settle(asking)


@pytest.fixture(scope="module")
def separating(start_server, tmp_path_factory, music):
    """A server of the same songs whose model separates."""
    folder = tmp_path_factory.mktemp("separating")
    model = load_model(write_separating_model(folder / "separating.safetensors"))
    Catalogue.open(folder / "catalogue", create=True).index([music], model, jobs=1)
    return start_server(folder / "catalogue")


def test_one_part_of_what_is_heard(open_page, separating):
    page = open_page(separating.address)
    page.wait_for_selector(".match")
    choose(page, "amber")
    play_late_match(page)
    heard(page, "b")
    assert "part=" not in page.evaluate(HEARD)["source"]
    before = page.evaluate(HEARD)["time"]
    page.select_option("#deck .deck-part", "bass")
    until(page, f"({HEARD})().then(({{ source }}) => source.includes('part=bass'))")
    assert heard(page, "b")["a"]["paused"]
    now = page.evaluate(HEARD)
    assert before - 0.1 <= now["time"] < before + 4, "it does not go on where it was"
    until(page, f"({HEARD})().then(({{ time }}) => time > {now['time']})")
    assert page.locator("#deck .deck-problem").is_hidden()
    page.locator("body").press("a")
    assert heard(page, "a")["side"] == "a"
    assert "part=bass" in page.evaluate(HEARD.replace("audio.b", "audio.a"))["source"]
    page.select_option("#deck .deck-part", "")
    until(page, f"({HEARD.replace('audio.b', 'audio.a')})().then(s => !s.source.includes('part='))")
    heard(page, "a")


def test_without_a_model_that_separates_there_is_no_choice_of_parts(asking):
    play_late_match(asking)
    heard(asking, "b")
    assert asking.locator("#deck .deck-part").is_hidden()
