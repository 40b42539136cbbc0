import os
import signal
import textwrap

import pytest

from made_collection import add_song, counts
from made_processes import finish, index_and_crash, start
from stemwise.library.suspects import Journal, find_killers


@pytest.fixture
def killer(monkeypatch, tmp_path):
    """Return the name of a file that kills every new process that opens it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import os, sys
            def crash(event, arguments):
                if event == "open" and "deadly.wav" in str(arguments[0]):
                    os.kill(os.getpid(), 11)
            sys.addaudithook(crash)
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return "deadly.wav"


def test_the_journal_knows_what_was_begun_and_not_ended(tmp_path):
    names = [tmp_path / name for name in ("a.mp3", "line\nbreak.mp3", "c.mp3")]
    journal = Journal(tmp_path)
    assert list(journal.begin(names)) == names
    journal.end(names[0])
    assert Journal(tmp_path).left() == {str(names[1]), str(names[2])}
    with journal.path.open("a") as file:
        file.write('["cut o')  # the process died here
    assert Journal(tmp_path).left() == {str(names[1]), str(names[2])}
    journal.clear()
    assert Journal(tmp_path).left() == set()


def test_all_killers_are_found_and_nothing_else(tmp_path, killer):
    names = ["a.wav", killer, "b.wav", "no sound.wav", "2nd deadly.wav", "c.wav"]
    paths = [add_song(tmp_path / "songs" / name, 1.2, seed) for seed, name in enumerate(names)]
    paths[3].write_text("no sound")
    found = find_killers([*paths, tmp_path / "gone.wav"])
    assert set(found) == {paths[1], paths[4]}
    assert all("SIGSEGV" in reason and "\n" not in reason for reason in found.values())
    assert find_killers([]) == {}


def test_a_file_that_kills_the_process_is_an_error_of_the_next_run(
    catalogue, music, tiny_model, tiny_model_path, killer
):
    add_song(music / killer, 1.2, 9)
    child = start(index_and_crash, catalogue.directory, music, tiny_model_path, killer)
    assert finish(child) == -signal.SIGSEGV
    summary = catalogue.index([music], tiny_model)
    assert counts(summary) == {"added": 4, "failed": 1}
    (failure,) = catalogue.errors()
    assert failure.path.name == killer
    assert "crashes its decoder (SIGSEGV)" in failure.reason
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "failed": 1}


def test_a_run_that_was_killed_blames_no_file(
    catalogue, music, tiny_model, tiny_model_path, monkeypatch
):
    child = start(index_and_crash, catalogue.directory, music, tiny_model_path, "song 2.wav")
    assert finish(child) == -signal.SIGSEGV
    assert Journal(catalogue.directory).left()
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4}
    assert not os.path.exists(Journal(catalogue.directory).path)
    monkeypatch.setattr(
        "stemwise.library.engines.find_killers", lambda paths: dict.fromkeys(paths, "")
    )
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
