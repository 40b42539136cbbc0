"""The interface as its description has it: complete, readable offline, and kept by the server."""

import re
import socket
import threading
import time

import hypothesis
import pytest
import schemathesis
import uvicorn
from schemathesis.specs.openapi.checks import positive_data_acceptance

from stemwise.web.api import create_app
from stemwise.web.settings import Settings

ROUTES = {
    "GET /health", "POST /session", "DELETE /session", "GET /tracks", "GET /tracks/{id}",
    "GET /tracks/{id}/waveform", "GET /tracks/{id}/audio", "POST /uploads", "POST /search",
    "POST /path", "GET /map", "POST /playlists", "GET /jobs", "POST /jobs", "GET /jobs/{id}",
    "DELETE /jobs/{id}", "GET /models",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path.removeprefix('/api/v1')}", operation


def test_the_document_names_every_route(document):
    assert {name for name, _ in operations(document)} == ROUTES


def test_every_operation_is_complete(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for name, operation in operations(document):
        assert operation["description"], name
        codes = set(operation["responses"])
        assert {"401", "403", "422", "500", "503"} <= codes, name
        for code, response in operation["responses"].items():
            if code >= "400" and code != "416":
                schema = response["content"]["application/json"]["schema"]
                assert schema["$ref"].endswith("/Failure"), (name, code)
    audio = document["paths"]["/api/v1/tracks/{id}/audio"]["get"]["responses"]["200"]["content"]
    assert audio["audio/mpeg"]["schema"]["format"] == "binary"
    upload = document["paths"]["/api/v1/uploads"]["post"]["requestBody"]["content"]
    assert upload["application/octet-stream"]["schema"]["format"] == "binary"


def test_the_reference_needs_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"<script(?! src=)|style=|onload=", page.text)
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [name for name in wanted if not name.startswith("data:")]
    assert len(files) == 3
    for name in files:
        assert name.startswith("/")
        answer = client.get(f"http://127.0.0.1{name}")
        assert answer.status_code == 200
        assert len(answer.content) > 100


@pytest.fixture(scope="module")
def schema(stored):
    """What a real server promises; it indexes nothing, and describes no upload for long."""
    settings = Settings(port=0, prepare_uploads=False, upload_max_bytes=2000)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(stored, settings), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/api/v1/openapi.json"
        try:
            yield schemathesis.openapi.from_url(address)
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_the_server_keeps_what_the_document_promises(schema, route):
    method, path = route.split()
    operation = schema[f"/api/v1{path}"][method]

    @hypothesis.settings(max_examples=8, deadline=None, derandomize=True, database=None,
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(operation.as_strategy())
    def ask(case):
        # whether valid words make sense is not for the document: these bytes are no music
        case.call_and_validate(timeout=120, excluded_checks=[positive_data_acceptance])

    ask()
