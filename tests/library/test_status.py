import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_collection import add_song, counts, damage, known
from stemwise.library.catalogue import Catalogue

NAMES = st.sampled_from([f"{name}.wav" for name in "abcdefg"])
SONGS = range(4)  # so that the same song turns up under several names
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.sampled_from(SONGS)),
        st.tuples(st.just("damage"), NAMES),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("index"), st.none() | st.integers(1, 3), st.booleans(), st.booleans()),
    ),
    min_size=4,
    max_size=12,
)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    return [add_song(folder / f"{k}.wav", 1.2 + k, k) for k in SONGS]


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_the_counts_add_up(songs, tiny_model, tmp_path_factory, steps):
    place = tmp_path_factory.mktemp("place")
    music = place / "music"
    music.mkdir()
    (music / "cover.jpg").touch()
    catalogue = Catalogue.open(place / "catalogue", create=True)
    disk = {}  # the truth: name -> number of a song, or None for what is no music
    for step, *arguments in [*steps, ("index", None, True, True)]:
        if step == "index":
            limit, prune, retry = arguments
            summary = catalogue.index([music], tiny_model, limit=limit, prune=prune, retry=retry)
            counts(summary)  # adds up
            counted = known(catalogue)  # adds up
            there = {name: count for name, count in counted.items() if name != "missing"}
            assert summary.found == sum(there.values()) == len(disk)
            assert counted.get("missing", 0) == summary.missing
            assert summary.left <= counted.get("waiting", 0) + len(disk)
        elif step == "write":
            name, song = arguments
            shutil.copy(songs[song], music / name)
            disk[name] = song
        elif step == "damage":
            damage(music / arguments[0])
            disk[arguments[0]] = None
        elif arguments[0] in disk:
            old, *new = arguments
            disk.update(dict.fromkeys(new, disk[old]))
            if old not in new:
                del disk[old]
            (music / old).rename(music / new[0] if new else place / "removed.wav")
    good = [song for song in disk.values() if song is not None]
    # A changed file of the same size and time cannot be told; none is made here.
    wanted = {
        "pieces": len(set(good)),
        "copies": len(good) - len(set(good)),
        "errors": len(disk) - len(good),
    }
    if disk:  # of a folder without any music nothing is forgotten
        wanted["missing"] = 0
        assert counted == {name: count for name, count in wanted.items() if count}
    assert catalogue.verify() == []
    found = {(piece.path.name, piece.segments) for piece in catalogue.pieces()}
    assert {name for name, _ in found} == {name for name, song in disk.items() if song is not None}


def test_the_figures_are_those_of_the_pieces(catalogue, music, tiny_model):
    shutil.copy(music / "song 3.wav", music / "copy.wav")
    damage(music / "bad.wav")
    catalogue.index([music], tiny_model, limit=5)
    assert sum(known(catalogue).values()) == 6
    catalogue.index([music], tiny_model)
    status = catalogue.status()
    assert known(catalogue) == {"pieces": 4, "copies": 1, "errors": 1}
    assert status.files == 6
    assert status.segments == 3 + 3 + 4 + 4  # 5, 6, 7 and 8 s in segments of 2 s
    assert status.hours == pytest.approx((5 + 6 + 7 + 8) / 3600)
    assert status.fingerprint == tiny_model.fingerprint
    assert status.model == tiny_model.source
    on_disk = sum(p.stat().st_size for p in catalogue.directory.rglob("*") if p.is_file())
    assert status.size_bytes == on_disk
    assert status.rebuild == ""
