import json

import pytest

from stemwise.errors import CatalogueError
from stemwise.library.metadata import Metadata, format_of, read_metadata, write_metadata

METADATA = Metadata(
    format=2, model="compact", fingerprint="0123", segment_seconds=10.0, created="2026-01-01"
)


def test_what_is_written_is_read(tmp_path):
    assert read_metadata(tmp_path) is None
    assert format_of(tmp_path) is None
    write_metadata(tmp_path, METADATA)
    assert read_metadata(tmp_path) == METADATA
    assert format_of(tmp_path) == 2
    rebuilt = METADATA.model_copy(update={"rebuild": METADATA.model_copy()})
    write_metadata(tmp_path, rebuilt)
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged or cannot be read"),
        ("[]", "damaged: it holds no table"),
        ("{}", "damaged: its format is None"),
        ('{"format": "2"}', "damaged: its format is '2'"),
        ('{"format": 2}', "damaged: model: Field required"),
        (json.dumps({"format": 1}), "has format 1, .* stemwise catalogue migrate --catalogue "),
        (json.dumps({"format": 99}), "has format 99, made by a newer version"),
        (
            json.dumps(METADATA.model_dump() | {"rebuild": {"model": "m"}}),
            "damaged: rebuild.fingerprint: Field required",
        ),
        (json.dumps(METADATA.model_dump() | {"colour": 1}), "damaged: colour: Extra inputs"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(CatalogueError, match=message) as caught:
        read_metadata(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    write_metadata(tmp_path, METADATA)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CatalogueError, match="cannot be written: No space left on device"):
        write_metadata(tmp_path, METADATA.model_copy(update={"fingerprint": "new"}))
    assert read_metadata(tmp_path) == METADATA
