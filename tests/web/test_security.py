import pytest

from stemwise.errors import UsageError
from stemwise.web.security import COOKIE, CSP
from stemwise.web.settings import Settings, child_environment, is_loopback

TOKEN = "a-token-of-good-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(stored, start):
    with start(stored, host="0.0.0.0", token=TOKEN) as client:
        yield client


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_an_address_that_others_reach_needs_a_token(host):
    assert not is_loopback(host)
    with pytest.raises(UsageError, match="clients need a token"):
        Settings(host=host)
    assert Settings(host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_loopback_needs_none(host):
    assert Settings(host=host).token is None


def test_a_token_that_is_guessed_is_refused():
    with pytest.raises(UsageError, match="12 letters and digits"):
        Settings(token="1234")


def test_only_the_token_opens(guarded, failure):
    for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
                  {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"},
                  {"Cookie": f"{COOKIE}={TOKEN}"}, {"Authorization": b"Bearer \xfc"}):  # fmt: skip
        answer = guarded.get("/tracks", headers=shown)
        failure(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text
    assert guarded.get("/tracks", headers=BEARER).status_code == 200
    assert guarded.get("/tracks", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    failure(guarded.get(f"/tracks?token={TOKEN}"), 401, "unauthorized")
    for path in ("/openapi.json", "/docs", "/nothing", "/search"):
        failure(guarded.get(path), 401, "unauthorized")


def test_the_page_itself_is_open(guarded):
    answer = guarded.get("http://127.0.0.1/page/parts.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]


def test_a_session_opens_until_it_is_closed(guarded, ids, failure):
    failure(guarded.post("/session"), 401, "unauthorized")
    answer = guarded.post("/session", headers=BEARER)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/tracks").status_code == 200
    assert guarded.get(f"/tracks/{ids['song 1']}/audio").status_code == 200
    failure(guarded.post("/session"), 401, "unauthorized")  # a cookie makes no further ones
    secret = guarded.cookies[COOKIE]
    assert guarded.delete("/session").status_code == 204
    guarded.cookies.clear()
    failure(guarded.get("/tracks", headers={"Cookie": f"{COOKIE}={secret}"}), 401, "unauthorized")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "10.0.0.1", ""]
)
def test_foreign_names_are_refused(client, host, failure):
    failure(client.get("/health", headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_own_names_are_answered_with_the_port(stored, start, host, failure):
    with start(stored, port=8123) as client:
        assert client.get("/health", headers={"Host": f"{host}:8123"}).status_code == 200
        failure(client.get("/health", headers={"Host": f"{host}:8124"}), 403, "forbidden")
        failure(client.get("/health", headers={"Host": host}), 403, "forbidden")


def test_further_names_can_be_allowed(stored, start, failure):
    with start(stored, port=8123, allowed_hosts=("Music.home",)) as client:
        for name in ("music.home", "music.home:8123", "music.home:443"):
            assert client.get("/health", headers={"Host": name}).status_code == 200
        failure(client.get("/health", headers={"Host": "other.home"}), 403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_pages_of_others_change_nothing(client, headers, failure):
    for method, path in (("POST", "/search"), ("DELETE", "/session"), ("POST", "/uploads"),
                         ("POST", "/jobs")):  # fmt: skip
        failure(client.request(method, path, headers=headers), 403, "forbidden")
    assert client.get("/health", headers=headers).status_code == 200


def test_our_own_page_may(client):
    headers = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.delete("/session", headers=headers).status_code == 204


PAGES = ("http://127.0.0.1/page/parts.js", "http://127.0.0.1/")


@pytest.mark.parametrize("path", ["/health", "/docs", "/nothing", "/tracks?limit=x", *PAGES])
def test_every_answer_has_the_headers(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_bodies_are_counted_whatever_they_claim(stored, start, failure):
    def chunks():
        for _ in range(50):
            yield b" " * 100

    with start(stored, body_max_bytes=2000, upload_max_bytes=3000) as client:
        headers = {"content-type": "application/json"}
        for path, limit in (("/search", "2,000"), ("/uploads", "3,000")):
            found = failure(client.post(path, content=b" " * 5000), 413, "too_large")
            assert limit in found["message"]
            answer = client.post(path, content=chunks(), headers=headers if "s" in path else {})
            if path == "/search":
                assert limit in failure(answer, 413, "too_large")["message"]
        answer = client.post("/uploads", content=chunks(), headers={"content-type": "audio/mpeg"})
        assert "3,000" in failure(answer, 413, "too_large")["message"]


@pytest.mark.parametrize("path", ["/page/../api.py", "/page/%2e%2e/api.py", "/page//etc/passwd",
                                  "/page/..%2f..%2fcli.py"])  # fmt: skip
def test_the_page_leads_nowhere_else(client, path, failure):
    failure(client.get(f"http://127.0.0.1{path}"), 404, "not_found")


def test_processes_of_the_server_get_no_secrets(monkeypatch):
    secrets = {
        "STEMWISE_TOKEN": "our token",
        "STEMWISE_SUBSONIC_PASSWORD": "our password",
        "AWS_SECRET_ACCESS_KEY": "the storage's",
    }
    for name, value in (secrets | {"STEMWISE_CATALOGUE": "kept"}).items():
        monkeypatch.setenv(name, value)
    reader, indexer = child_environment(storage=False), child_environment(storage=True)
    assert not secrets.keys() & reader.keys()
    assert secrets.keys() & indexer.keys() == {"AWS_SECRET_ACCESS_KEY"}
    for environment in (reader, indexer):
        assert not {"our token", "our password"} & set(environment.values())
        assert environment["STEMWISE_CATALOGUE"] == "kept"
        assert environment["OMP_NUM_THREADS"] == "1"
