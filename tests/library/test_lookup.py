import pytest

from made_vectors import piece
from stemwise.library.lookup import Lookup, plain

SONGS = [
    ("Blue in Green", "Miles Davis", "Kind of Blue"),
    ("Blue", "Joni Mitchell", "Blue"),
    ("Green", "R.E.M.", ""),
    ("Halo", "Beyoncé", "I Am…"),
    ("Bluebird", "Paul", ""),
    ("Schön", "Ärzte", "Straße"),
]
PIECES = [piece(k, title=t, artist=a, album=b) for k, (t, a, b) in enumerate(SONGS)]


def titles(text):
    return [PIECES[k].title for k in Lookup(PIECES).find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("blue", ["Blue", "Blue in Green", "Bluebird"]),
        ("GREEN blue", ["Blue in Green"]),
        ("beyonce", ["Halo"]),
        ("Beyoncé".upper(), ["Halo"]),
        ("davis kind", ["Blue in Green"]),
        ("strasse arzte", ["Schön"]),
        ("lue", ["Blue", "Blue in Green", "Bluebird"]),
        ("zzz", []),
    ],
)
def test_words_find_what_has_them_all(text, expected):
    found = titles(text)
    assert sorted(found) == sorted(expected)
    assert found[:1] == expected[:1]


def test_without_words_all_come_by_artist_and_title():
    order = sorted(range(6), key=lambda k: plain(SONGS[k][1]))
    assert Lookup(PIECES).find("  ") == Lookup(PIECES).in_order == order


def test_nothing_is_found_in_nothing():
    assert Lookup([]).find("blue") == []


def test_plain_text_has_no_accents_and_single_spaces():
    assert plain("  Ärger \t Straße É ") == "arger strasse e"
