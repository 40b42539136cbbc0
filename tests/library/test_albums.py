from dataclasses import replace
from pathlib import Path

from stemwise.library.albums import NO_ALBUM, NO_ARTIST, VARIOUS, Albums
from stemwise.library.tables import Piece


def piece(path, artist="", album="", **more):
    content = f"{abs(hash(path)):032x}"[:32]
    known = {"size_bytes": 1, "mtime_ns": 5, "duration_seconds": 10.0, "segments": 1,
             "title": Path(path).stem, "year": None, "genre": "", "bpm": None,
             "missing": False}  # fmt: skip
    return Piece(path=Path(path), content=content, artist=artist, album=album, **known | more)


def told(found):
    return {(one.name, one.artist): one.pieces for one in found.albums.values()}


def test_an_album_is_a_name_in_a_folder_by_who_plays_most_of_it():
    pieces = [
        piece("/m/a/2.flac", "Ann", "One"),
        piece("/m/a/1.flac", "Ann feat. Bob", "one"),
        piece("/m/a/3.flac", "ANN", "Öne"),
        piece("/m/b/1.flac", "Bob", "One"),
        piece("/m/c/1.flac", "Ann", "Hits"),
        piece("/m/c/2.flac", "Bob", "Hits"),
        piece("/m/d/4.flac", "Ann", "One"),
    ]
    found = Albums(pieces)
    assert told(found) == {
        ("Hits", VARIOUS): (4, 5), ("One", "Ann"): (1, 0, 2, 6), ("One", "Bob"): (3,),
    }  # fmt: skip
    names = {one.name: [found.albums[a].name for a in one.albums] for one in found.artists.values()}
    assert names == {
        "Ann": ["Hits", "One"], "Ann feat. Bob": ["One"], "Bob": ["Hits", "One"], VARIOUS: ["Hits"],
    }  # fmt: skip
    assert [found.albums[one].pieces.count(k) for k, one in enumerate(found.album_of)] == [1] * 7
    assert [found.artists[one].name for one in found.artist_of] == [
        "Ann", "Ann feat. Bob", "Ann", "Bob", "Ann", "Bob", "Ann",
    ]  # fmt: skip


def test_pieces_without_tags_are_found_too():
    found = Albums([piece("/m/x.wav"), piece("/n/y.wav", "Ann"), piece("/n/z.wav", "", "Solo")])
    assert told(found) == {
        (NO_ALBUM, NO_ARTIST): (0,), (NO_ALBUM, "Ann"): (1,), ("Solo", NO_ARTIST): (2,),
    }  # fmt: skip


def test_figures_of_an_album():
    some = [piece(f"/m/{k}.wav", "Ann", "One") for k in range(4)]
    more = [{"year": 1999, "genre": "Jazz"}, {"year": 1997, "genre": "Pop", "mtime_ns": 9},
            {"genre": "Jazz"}, {}]  # fmt: skip
    (album,) = Albums([replace(p, **m) for p, m in zip(some, more, strict=True)]).albums.values()
    assert (album.year, album.genre, album.newest_ns, album.duration_seconds) == (
        1997, "Jazz", 9, 40,
    )  # fmt: skip


def test_ids_stay_when_files_move_and_others_come():
    first = Albums([piece("/m/1.wav", "Ann", "One")])
    moved = Albums([piece("/else/9.wav", "Bob", "Two"), piece("/else/1.wav", "Ann", "One")])
    assert set(first.albums) < set(moved.albums)
    assert set(first.artists) < set(moved.artists)
    assert Albums([]).albums == Albums([]).artists == {}
