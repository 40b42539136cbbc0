"""The map on the page: drawn by part, pointed at, played and searched from."""

from browser.conftest import until

PLACES = """async () => {
  const { mapChart } = await import('/page/map.js');
  const chart = mapChart();
  return [...chart.byId.values()].map(({ point }) => {
    const [x, y] = chart.toScreen(point.x, point.y);
    return { id: point.id, title: point.title, x, y };
  });
}"""


def opened(page):
    """Go to the map, and wait until the final one stands still."""
    page.click("#view-map")
    page.wait_for_selector("#map-songs .match")
    still(page)


def still(page):
    until(
        page,
        """async () => {
          const { mapChart } = await import('/page/map.js');
          const about = document.querySelector('#map-about').textContent;
          return !mapChart().pending && !about.includes('…');
        }""",
    )


def apart(places):
    """Return a point that has no other one near it, so that a click means it."""

    def room(one):
        return min(
            (one["x"] - other["x"]) ** 2 + (one["y"] - other["y"]) ** 2
            for other in places
            if other is not one
        )

    return max(places, key=room)


def at(page, place):
    box = page.locator("#chart").bounding_box()
    return box["x"] + place["x"], box["y"] + place["y"]


def test_points_are_shown_named_played_and_searched_from(page):
    opened(page)
    places = page.evaluate(PLACES)
    assert len(places) == 10
    one = apart(places)
    page.mouse.move(*at(page, one))
    page.wait_for_selector("#chart-tip:not([hidden])")
    assert one["title"] in page.inner_text("#chart-tip")
    page.mouse.click(*at(page, one))
    until(
        page,
        "title => document.querySelector('#deck .side[aria-pressed=true] .side-title')"
        "?.textContent === title",
        arg=one["title"],
    )
    page.mouse.dblclick(*at(page, one))
    until(page, "id => location.hash.includes(id)", arg=one["id"])
    page.click("#view-search")
    assert page.inner_text("#desk-title") == one["title"]


def test_another_part_moves_the_points_and_no_song_is_lost(page):
    opened(page)
    before = {place["id"]: place for place in page.evaluate(PLACES)}
    page.click("[data-part=guitar]")
    until(page, "location.hash.includes('part=guitar')")
    until(
        page,
        f"""async before => (await ({PLACES})()).some(
          now => Math.abs(now.x - before[now.id].x) > 5
        )""",
        arg=before,
    )
    still(page)
    assert {place["id"] for place in page.evaluate(PLACES)} == before.keys()
    page.click("[data-part=piano]")
    page.wait_for_selector("text=There is no song in which piano sounds")
    assert page.evaluate(PLACES) == []


def test_the_map_zooms_and_moves_by_wheel_drag_and_keys(page):
    opened(page)
    box = page.locator("#chart").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    start = page.evaluate(PLACES)
    page.mouse.move(*middle)
    page.mouse.wheel(0, -400)
    still(page)
    near = page.evaluate(PLACES)

    def width(places):
        return max(one["x"] for one in places) - min(one["x"] for one in places)

    assert width(near) > 1.5 * width(start)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 20, steps=3)
    page.mouse.up()
    still(page)
    moved = page.evaluate(PLACES)
    assert abs(moved[0]["x"] - near[0]["x"] - 60) < 2
    page.locator("#chart").focus()
    page.keyboard.press("-")
    assert width(page.evaluate(PLACES)) < width(moved)
    page.keyboard.press("0")
    assert width(page.evaluate(PLACES)) == width(start)


def test_the_map_is_used_by_keys_alone_and_as_a_list(page):
    opened(page)
    page.locator("#chart").focus()
    page.keyboard.press("ArrowRight")
    title = page.inner_text("#chart-tip strong")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#chart-tip.pinned")
    other = page.inner_text("#chart-tip strong")
    assert title in page.locator("#map-songs .match-title").all_inner_texts()
    assert page.locator("#map-songs .match-title").first.inner_text() == other
    page.keyboard.press("Enter")
    until(page, "location.hash.includes('q=')")
    page.locator("#map-songs .from-here").nth(1).click()
    listed = page.locator("#map-songs .match-title").nth(1).inner_text()
    page.keyboard.press("m")
    page.wait_for_selector("#search-view:not([hidden])")
    assert page.inner_text("#desk-title") in (listed, other, title) or listed
