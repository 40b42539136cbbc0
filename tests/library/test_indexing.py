import os
import shutil
from datetime import timedelta

import pytest

from made_collection import add_song, counts, damage, known, segment_contents
from made_music import tone, write_sndfile
from stemwise.errors import AudioError, UsageError
from stemwise.library import indexing
from stemwise.library.embed import content_hash
from stemwise.library.search import similar
from stemwise.library.store import Store
from stemwise.library.tables import SCHEMAS, as_row


def table(catalogue, kind):
    return Store(catalogue.directory, catalogue.metadata.fingerprint).table(kind)


def test_unchanged_files_are_not_opened(catalogue, music, tiny_model, decoded, monkeypatch):
    catalogue.index([music], tiny_model)
    assert len(decoded) == 4
    decoded.clear()
    monkeypatch.setattr("stemwise.library.embed.content_hash", None)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert not decoded


def test_a_touched_file_is_hashed_but_not_decoded(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    decoded.clear()
    os.utime(music / "song 1.wav", ns=(1, 1))
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert catalogue.pieces()[1].mtime_ns == 1
    assert not decoded


def test_a_moved_file_keeps_its_vectors(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    before = {p.content for p in catalogue.pieces()}
    decoded.clear()
    (music / "deep").mkdir()
    (music / "song 2.wav").rename(music / "deep" / "new name.wav")
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "moved": 1}
    assert not decoded
    assert {p.content for p in catalogue.pieces()} == before
    assert catalogue.pieces()[0].path.name == "new name.wav"
    other = music.parent / "elsewhere"
    music.rename(other)
    assert counts(catalogue.index([other], tiny_model)) == {"moved": 4}
    assert not decoded


def test_a_copy_is_a_second_path_to_the_same_piece(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    decoded.clear()
    shutil.copy(music / "song 0.wav", music / "z copy.wav")
    assert counts(catalogue.index([music], tiny_model)) == {"added": 1, "unchanged": 4}
    assert not decoded
    status = catalogue.status()
    assert (status.pieces, status.copies) == (4, 1)
    hits = similar(catalogue, music / "song 1.wav").matches
    both = next(m for m in hits if m.piece.title == "song 0")
    assert [p.name for p in both.paths] == ["song 0.wav", "z copy.wav"]
    assert len(hits) == 3
    assert len(similar(catalogue, "z copy").matches) == 3  # neither itself nor its twin
    (music / "song 0.wav").unlink()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "missing": 1}
    assert len(similar(catalogue, music / "song 1.wav").matches) == 3


def test_copies_in_one_run_are_stored_once(catalogue, music, tiny_model):
    for k in range(3):
        shutil.copy(music / "song 0.wav", music / f"copy {k}.wav")
    assert counts(catalogue.index([music], tiny_model, jobs=3)) == {"added": 7}
    status = catalogue.status()
    assert (status.pieces, status.copies) == (4, 3)
    stored = catalogue.read("segments", ["content"]).num_rows
    assert stored == status.segments == sum(p.segments for p in catalogue.vectors().pieces)


def test_a_changed_file_gets_new_vectors_and_the_old_ones_go(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    old = content_hash(music / "song 3.wav")
    decoded.clear()
    write_sndfile(music / "song 3.wav", tone(9, 8000, 77), 8000)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "updated": 1}
    assert decoded == ["song 3.wav"]
    assert old not in segment_contents(catalogue)
    assert segment_contents(catalogue) == {p.content for p in catalogue.pieces()}


def test_gone_files_are_hidden_but_come_back_at_no_cost(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    decoded.clear()
    away = music.parent / "away"
    music.rename(away)
    music.mkdir()
    assert counts(catalogue.index([music], tiny_model)) == {"missing": 4}
    assert catalogue.pieces() == []
    assert catalogue.status().missing == 4
    assert catalogue.vectors().pieces == ()
    music.rmdir()
    away.rename(music)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert len(catalogue.pieces()) == 4
    assert not decoded


def test_other_folders_are_left_alone(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    more = music.parent / "music and more"  # its name begins with the other's
    more.mkdir()
    write_sndfile(more / "x.wav", tone(3, 8000, 9), 8000)
    assert counts(catalogue.index([more], tiny_model)) == {"added": 1}
    assert counts(catalogue.index([music / "song 0.wav"], tiny_model)) == {"unchanged": 1}
    assert catalogue.status().pieces == 5


def test_corrupt_files_are_recorded_and_stop_nothing(catalogue, music, tiny_model, decoded):
    bad = music / "bad song.mp3"
    damage(bad)
    (music / "short.wav").write_bytes(b"")
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4, "failed": 2}
    first, second = catalogue.errors()
    assert first.path == bad
    assert "cannot be decoded" in first.reason
    assert "empty" in second.reason
    tried = len(decoded)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "failed": 2}
    assert len(decoded) == tried  # known to be bad
    catalogue.index([music], tiny_model, retry=True)
    assert len(decoded) == tried + 2
    write_sndfile(bad, tone(3, 8000, 5), 8000)
    (music / "short.wav").unlink()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "added": 1}
    assert catalogue.errors() == []
    damage(bad)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "failed": 1}
    assert len(catalogue.pieces()) == 4
    assert len(segment_contents(catalogue)) == 4


@pytest.mark.parametrize(
    "stem", ["a'b''c", 'q"uote', "per%cent_", "日本語", "back\\slash", "new\nline", "x" * 240]
)
def test_odd_names_survive(catalogue, tmp_path, tiny_model, stem):
    name = stem + ".wav"
    folder = tmp_path / "odd"
    folder.mkdir()
    path = write_sndfile(folder / name, tone(3, 8000), 8000)
    catalogue.index([folder], tiny_model)
    assert [p.path for p in catalogue.pieces()] == [path]
    path.rename(folder / "plain.wav")
    assert counts(catalogue.index([folder], tiny_model)) == {"moved": 1}
    (folder / "plain.wav").rename(path)
    assert counts(catalogue.index([folder], tiny_model)) == {"moved": 1}
    damage(path)
    assert counts(catalogue.index([folder], tiny_model)) == {"failed": 1}
    path.unlink()
    catalogue.index([folder], tiny_model)
    assert catalogue.errors() == []


def test_a_name_that_is_no_unicode_is_an_error_of_its_own(catalogue, music, tiny_model):
    odd = os.fsencode(music) + b"/caf\xe9.wav"
    shutil.copy(music / "song 0.wav", os.fsdecode(odd))
    for _ in range(2):
        assert counts(catalogue.index([music], tiny_model))["failed"] == 1
    assert r"caf\xe9.wav has a name that is not valid Unicode" in catalogue.errors()[0].reason


def test_progress_is_told_to_the_end(catalogue, music, tiny_model):
    told = []
    catalogue.index([music], tiny_model, progress=lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(k, 4) for k in range(5)]
    assert told[-1][2] == pytest.approx(26 / 3600)
    told.clear()
    catalogue.index([music], tiny_model, progress=lambda *step: told.append(step))
    assert told == [(4, 4, 0.0)]


def test_versions_do_not_pile_up(catalogue, music, tiny_model, monkeypatch):
    monkeypatch.setattr(indexing, "FILES_PER_COMMIT", 1)
    for k in range(8):
        write_sndfile(music / "song 0.wav", tone(3, 8000, 20 + k), 8000)
        catalogue.index([music], tiny_model)
    for name in SCHEMAS:
        assert len(table(catalogue, name).list_versions()) < 40
    monkeypatch.setattr("stemwise.library.store._VERSION_LIFE", timedelta(milliseconds=1))
    catalogue.index([music], tiny_model)
    for name in SCHEMAS:
        assert len(table(catalogue, name).list_versions()) <= 17
    assert len(catalogue.vectors().pieces) == 4


def test_an_interrupted_run_keeps_what_was_done(catalogue, music, tiny_model):
    def interrupt(done, total, hours):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalogue.index([music], tiny_model, jobs=1, progress=interrupt)
    assert len(catalogue.pieces()) == 2
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 2, "added": 2}


def test_a_limit_leaves_the_rest_for_the_next_time(catalogue, music, tiny_model, decoded):
    assert counts(catalogue.index([music], tiny_model, limit=3)) == {"added": 3, "left": 1}
    assert known(catalogue) == {"pieces": 3, "waiting": 1}
    assert len(decoded) == 3
    assert len(catalogue.pieces()) == 3  # what waits is not searched
    assert counts(catalogue.index([music], tiny_model, limit=3)) == {"unchanged": 3, "added": 1}
    assert len(decoded) == 4
    with pytest.raises(UsageError, match="the limit must be 1 file or more, got 0"):
        catalogue.index([music], tiny_model, limit=0)


def test_files_that_wait_and_then_go_are_not_missed(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model, limit=1)
    for path in sorted(music.iterdir())[1:]:
        path.unlink()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 1}
    assert known(catalogue) == {"pieces": 1}


def test_a_file_that_waited_is_known_as_moved(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    (music / "song 0.wav").rename(music / "a.wav")
    add_song(music / "0 first.wav", seed=9)
    assert counts(catalogue.index([music], tiny_model, limit=1))["added"] == 1
    assert known(catalogue) == {"pieces": 4, "waiting": 1, "missing": 1}
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "moved": 1}
    assert known(catalogue) == {"pieces": 5}


def test_excluded_files_are_hidden_and_keep_their_vectors(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    found = counts(catalogue.index([music], tiny_model, exclude=["song 1*"]))
    assert found == {"unchanged": 3, "missing": 1}
    assert [p.title for p in catalogue.pieces()] == ["song 0", "song 2", "song 3"]
    decoded.clear()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert decoded == []


@pytest.fixture
def lock_away(monkeypatch):
    """Make files unreadable (permissions do not bind the superuser)."""
    locked = set()
    really = content_hash

    def hash_unless_locked(path):
        if path.name in locked:
            raise AudioError(f"{path} cannot be opened: Permission denied")
        return really(path)

    monkeypatch.setattr("stemwise.library.embed.content_hash", hash_unless_locked)
    return locked


def test_a_file_that_cannot_be_read_keeps_its_vectors(
    catalogue, music, tiny_model, decoded, lock_away
):
    catalogue.index([music], tiny_model)
    os.utime(music / "song 2.wav", ns=(1, 1))
    lock_away.add("song 2.wav")
    for _ in range(2):
        assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "failed": 1}
        assert known(catalogue) == {"pieces": 3, "errors": 1}
    assert "Permission denied" in catalogue.errors()[0].reason
    catalogue.index([music], tiny_model, prune=True)
    decoded.clear()
    lock_away.clear()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert decoded == []
    assert known(catalogue) == {"pieces": 4}


def test_a_file_that_could_not_be_read_is_tried_again(catalogue, music, tiny_model, lock_away):
    lock_away.add("song 2.wav")
    assert counts(catalogue.index([music], tiny_model)) == {"added": 3, "failed": 1}
    lock_away.clear()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "added": 1}
    assert catalogue.errors() == []


def test_known_failures_are_not_written_again(catalogue, music, tiny_model):
    damage(music / "bad.wav")
    shutil.copy(music / "song 0.wav", os.fsdecode(os.fsencode(music) + b"/caf\xe9.wav"))
    catalogue.index([music], tiny_model)
    version = table(catalogue, "errors").version
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "failed": 2}
    catalogue.index([music], tiny_model, retry=True)
    assert table(catalogue, "errors").version == version


def test_an_index_that_finds_nothing_new_writes_nothing(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    versions = [table(catalogue, kind).version for kind in SCHEMAS]
    catalogue.index([music], tiny_model)
    assert [table(catalogue, kind).version for kind in SCHEMAS] == versions


def test_commits_are_few_and_large(catalogue, music, tiny_model):
    for seed in range(30):
        add_song(music / f"more {seed}.wav", 1.5, 10 + seed)
    catalogue.index([music], tiny_model)
    assert table(catalogue, "segments").version == 2  # made, and filled once
    assert table(catalogue, "pieces").version == 3  # made, announced, filled


def test_segments_make_a_batch_full_too(catalogue, music, tiny_model, monkeypatch):
    monkeypatch.setattr(indexing, "SEGMENTS_PER_COMMIT", 6)
    catalogue.index([music], tiny_model, jobs=1)
    assert table(catalogue, "segments").version == 3  # 3 + 3, 4 + 4 segments


def test_pieces_that_lost_their_vectors_get_them_from_any_copy(
    catalogue, music, tiny_model, decoded
):
    other = music.parent / "other" / "copy.wav"
    other.parent.mkdir()
    shutil.copy(music / "song 0.wav", other)
    catalogue.index([music, other.parent], tiny_model)
    store = Store(catalogue.directory, tiny_model.fingerprint)
    lost = [piece for piece in store.pieces() if piece.segments == 3]
    store.put("pieces", [as_row(piece) | {"segments": 0} for piece in lost])
    store.drop("segments", "content", {piece.content for piece in lost})
    assert known(catalogue) == {"pieces": 2, "waiting": 3}
    decoded.clear()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 2, "updated": 2}
    assert sorted(decoded) == ["song 0.wav", "song 1.wav"]
    assert known(catalogue) == {"pieces": 4, "copies": 1}
    assert catalogue.verify() == []


def test_an_interrupt_in_the_middle_of_a_write_writes_nothing_twice(
    catalogue, music, tiny_model, monkeypatch
):
    append = Store.append

    def interrupted(self, kind, rows):
        append(self, kind, rows)
        if rows.num_rows:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            catalogue.index([music], tiny_model)
    assert catalogue.verify() == []
    assert known(catalogue) == {"waiting": 4}
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4}
    assert catalogue.verify() == []
