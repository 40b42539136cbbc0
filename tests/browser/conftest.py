import shutil
import time

import pytest

from stemwise.library.catalogue import Catalogue

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
PATIENCE_MILLISECONDS = 60_000


@pytest.fixture(scope="package")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; `make system-test` brings it")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture(scope="package")
def music(tmp_path_factory):
    from browser.made_songs import write_songs

    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="package")
def place(tmp_path_factory, music, tiny_model):
    folder = tmp_path_factory.mktemp("catalogue")
    Catalogue.open(folder, create=True).index([music], tiny_model, jobs=1)
    return folder


@pytest.fixture(scope="package")
def playlists(tmp_path_factory):
    return tmp_path_factory.mktemp("playlists")


@pytest.fixture(scope="package")
def start_server(browser):
    """Start a server that is ended with the tests; without a browser there is no need of one."""
    from browser.made_server import Server

    started = []

    def start(place, **settings):
        started.append(Server(place, **settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="package")
def server(start_server, place, playlists):
    return start_server(place, playlists=playlists)


@pytest.fixture
def open_page(browser):
    """Open a page in a context of its own; errors of its scripts fail the test."""
    contexts, wrong = [], []

    def open_one(address, width=1280, height=900, **context):
        one = browser.new_context(viewport={"width": width, "height": height}, **context)
        one.set_default_timeout(PATIENCE_MILLISECONDS)
        contexts.append(one)
        page = one.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if _breach(said) else None)
        page.goto(address)
        return page

    yield open_one
    for one in contexts:
        one.close()
    assert not wrong


def _breach(said):
    """Tell whether a line of the console says that the content security policy was broken."""
    return said.type == "error" and "Content Security Policy" in said.text


@pytest.fixture
def page(open_page, server):
    """The page with the collection listed."""
    one = open_page(server.address)
    one.wait_for_selector(".match")
    return one


@pytest.fixture
def asking(page):
    """The page with the matches of "Amber River"."""
    choose(page, "amber")
    return page


def choose(page, text):
    """Find a song by typing, and wait for matches of it."""
    page.fill("#finder", text)
    page.wait_for_selector("#found .option")
    page.keyboard.press("Enter")
    settle(page)


def until(page, condition, arg=None):
    """Wait until an expression, or a function of `arg`, is true; promises are waited for.

    Playwright's own `wait_for_function` takes a promise for true, and evaluates bare expressions in
    the page, which its policy forbids.
    """
    end = time.monotonic() + PATIENCE_MILLISECONDS / 1000
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"this does not come true: {condition}"
        page.wait_for_timeout(20)


def settle(page):
    """Wait until the answer to the last question is shown."""
    until(
        page,
        "document.querySelector('.total') && "
        "document.querySelector('#results').getAttribute('aria-busy') === 'false'",
    )


def rows(page):
    """Return titles and similarities as shown."""
    names = page.locator("#results .match-title").all_inner_texts()
    figures = page.locator("#results .total-figure").all_inner_texts()
    return list(zip(names, figures, strict=True))


def has_focus(page, selector):
    return page.evaluate("one => document.activeElement.matches(one)", selector)
