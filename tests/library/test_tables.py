import pytest

from stemwise.library.tables import SCHEMAS, reason_of, schema, table_name


def test_a_table_names_its_model():
    assert table_name("pieces", "0123") == "pieces-0123"
    for kind, plain in SCHEMAS.items():
        assert schema(kind, "0123").equals(plain)
        assert schema(kind, "0123").metadata == {b"fingerprint": b"0123"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "lance error: LanceError(IO): No space left on device (os error 28), /root/x/w.rs:2:9",
            "No space left on device (os error 28)",
        ),
        ("Table 'x' was not found", "Table 'x' was not found"),
        ("first\nsecond", "first"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_one_line(text, reason):
    assert reason_of(RuntimeError(text)) == reason
