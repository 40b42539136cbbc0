"""A server for players in tests, and what players do: log in, ask, read answers in both shapes."""

import hashlib
import json
from xml.etree import ElementTree

from fastapi.testclient import TestClient

from stemwise import __version__
from stemwise.web.api import create_app
from stemwise.web.settings import Settings

USER, PASSWORD = "joé", "sésame & <open>"
NAMESPACE = "{http://subsonic.org/restapi}"


def token(salt="c19b2d", password=PASSWORD):
    return {"t": hashlib.md5((password + salt).encode()).hexdigest(), "s": salt}


LOGIN = {"u": USER, "v": "1.16.1", "c": "tests"}


def serve(catalogue, **settings):
    known = {"port": 0, "prepare_uploads": False, "subsonic_user": USER,
             "subsonic_password": PASSWORD}  # fmt: skip
    served = create_app(catalogue, Settings(**known | settings))
    return TestClient(served, base_url="http://127.0.0.1/rest/", raise_server_exceptions=False)


def in_json(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    whole = json.loads(response.text)["subsonic-response"]
    assert (whole["version"], whole["type"], whole["openSubsonic"]) == ("1.16.1", "stemwise", True)
    assert whole["serverVersion"] == __version__
    return whole


def in_xml(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/xml")
    root = ElementTree.fromstring(response.content)
    assert root.tag == f"{NAMESPACE}subsonic-response"
    assert (root.get("version"), root.get("type")) == ("1.16.1", "stemwise")
    assert (root.get("openSubsonic"), root.get("serverVersion")) == ("true", __version__)
    return root


def same(value, element):
    """Check that an XML element holds what a JSON object does."""
    names = {child.tag.removeprefix(NAMESPACE) for child in element} | set(element.attrib)
    if element.text and "value" in value:
        names.add("value")
    assert names == {key for key, one in value.items() if one != []}
    for key, one in value.items():
        children = element.findall(f"{NAMESPACE}{key}")
        if isinstance(one, list):
            assert len(children) == len(one)
            for item, child in zip(one, children, strict=True):
                same(item, child) if isinstance(item, dict) else literal(item, child.text)
        elif isinstance(one, dict):
            same(one, children[0])
        elif key == "value":
            literal(one, element.text)
        else:
            literal(one, element.get(key) if key in element.attrib else children[0].text)


def literal(value, text):
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    assert text == "".join("\ufffd" if sign in "\x01\x1f" else sign for sign in shown)


def refused(response, code):
    """Check that `response` refuses with `code`, in JSON or XML; return the message."""
    if response.headers["content-type"] == "application/json":
        whole = in_json(response)
        status, error = whole["status"], whole["error"]
    else:
        root = in_xml(response)
        status, found = root.get("status"), root.find(f"{NAMESPACE}error")
        error = {"code": int(found.get("code")), "message": found.get("message")}
    assert (status, error["code"]) == ("failed", code), error
    assert error["message"]
    assert "\n" not in error["message"]
    return error["message"]


def asking(server):
    """Return what asks with the right login, for the content of the answer, the same in XML."""

    def call(name, **parameters):
        everything = LOGIN | token() | parameters
        whole = in_json(server.get(name, params=everything | {"f": "json"}))
        root = in_xml(server.get(f"{name}.view", params=everything))
        assert whole["status"] == root.get("status") == "ok", whole
        same(whole, root)
        return whole

    return call


def refusing(server):
    """Return what asks with the right login, for the message of a refusal, alike in XML."""

    def call(code, name, **parameters):
        everything = LOGIN | token() | parameters
        message = refused(server.get(name, params=everything | {"f": "json"}), code)
        refused(server.get(name, params=everything), code)
        return message

    return call
