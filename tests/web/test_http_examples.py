"""The Python of docs/http.md runs as it stands."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def test_the_examples_run_in_their_order(client):
    """On the server of the tests, in place of one on a port."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 9
    assert "import httpx\n" in blocks[0]
    names = {"api": client}
    for block in blocks[1:]:
        if "/uploads" not in block:  # tests/web/test_uploads.py sends one, as this takes seconds
            exec(block, names)
    assert names["found"]["matches"]
    assert names["wav"].startswith(b"RIFF")
    assert names["steps"]
    assert names["points"]
    assert names["text"].startswith("#EXTM3U")
    assert names["jobs"] == []


def test_the_page_names_every_route_and_code(client):
    page = PAGE.read_text(encoding="utf-8")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path.removeprefix("/api/v1/").partition("/")[0] in page
    document = client.get("/openapi.json").text
    for code in set(re.findall(r'"description":"([a-z_]+)"', document)):
        assert f"`{code}`" in page
