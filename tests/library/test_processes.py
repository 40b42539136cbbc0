import os
import platform
import resource
import signal
import subprocess
import sys
import time
from threading import Event, Thread

import numpy as np
import pytest

from made_music import tone, write_sndfile
from stemwise.errors import AudioError, StemwiseError
from stemwise.library import engines, processes
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import FileEmbedding, FileFailure, embed_files
from stemwise.library.processes import DiedError, Processes, StoppedError
from stemwise.models.checkpoint import load_model


def divided(state, by):
    return os.getpid(), state / by


def refuse(state, what):
    raise AudioError(f"{state} {what}")


def die(state, how):
    if how == "exit":
        os._exit(3)
    elif how:
        os.kill(os.getpid(), signal.SIGSEGV)
    return state


def wait(state, seconds):
    time.sleep(seconds)


def faulted(state, blocks):
    """Return the page faults of filling and freeing as many blocks of 16 MB, one after another."""
    np.ones(2**22, np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        np.ones(2**22, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.fixture
def calling():
    """Make `Processes` that are closed in the end."""
    made = []

    def make(work, state, most=2):
        made.append(Processes(work, state, most))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_process_keeps_the_memory_that_it_frees(calling):
    """Each block would take a fault per page of it, 4,096 or with huge pages 8, if it were new."""
    assert calling(faulted, None).call((100,), Event()) < 100


def test_threads_share_the_processes_and_answers_come_back(calling):
    calls = calling(divided, 84)
    found = []
    threads = [Thread(target=lambda: found.extend(calls.call((2,), Event()) for _ in range(3)))
               for _ in range(3)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer for _, answer in found] == [42] * 9
    assert len({pid for pid, _ in found}) == 2
    assert os.getpid() not in {pid for pid, _ in found}


def test_errors_are_raised_as_they_are(calling):
    with pytest.raises(ZeroDivisionError):
        calling(divided, 84).call((0,), Event())
    calls = calling(refuse, "odd")
    for what in ("a", "b"):
        with pytest.raises(AudioError, match=f"^odd {what}$"):
            calls.call((what,), Event())


def test_a_process_that_dies_is_replaced(calling):
    calls = calling(die, 1)
    with pytest.raises(DiedError, match=r"^ended with code 3$"):
        calls.call(("exit",), Event())
    with pytest.raises(DiedError, match=r"^was ended by signal 11$"):
        calls.call(("signal",), Event())
    assert calls.call(("",), Event()) == 1
    assert len(calls._all) == 3  # one is enough for one thread


def test_stopping_does_not_wait_for_the_answer(calling):
    calls = calling(wait, None)
    calls.call((0,), Event())
    stop = Event()
    stop.set()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        calls.call((60,), stop)
    assert time.monotonic() - begun < 20


def test_who_waits_for_a_process_is_stopped_as_well(calling):
    calls, stop, stopped = calling(wait, None, most=1), Event(), []
    calls.call((0,), Event())

    def ask():
        try:
            calls.call((60,), stop)
        except StoppedError:
            stopped.append(True)

    threads = [Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    begun = time.monotonic()
    stop.set()
    for thread in threads:
        thread.join()
    assert stopped == [True] * 3
    assert time.monotonic() - begun < 20
    assert len(calls._all) == 1  # nobody started another when there was nothing left to do


def test_a_process_that_cannot_start_is_told_in_a_line(calling, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(
        StemwiseError, match="cannot be started: it ended with code 1; use --jobs 1"
    ):
        calling(divided, 84).call((2,), Event())


def test_a_process_ends_with_its_caller(tmp_path):
    """Also if that is killed and has no time to say so."""
    (tmp_path / "caller.py").write_text(
        "import os, signal\n"
        "from threading import Event\n"
        "from stemwise.library.processes import Processes\n"
        "calls = Processes(divmod, 7, 1)\n"  # a main module without a guard
        "assert calls.call((2,), Event()) == (3, 1)\n"
        "print(calls._all[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "caller.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    for _ in range(200):
        if not alive(pid):
            return
        time.sleep(0.1)
    raise AssertionError("the process lives on")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def songs(folder, count):
    folder.mkdir(exist_ok=True)
    return [write_sndfile(folder / f"{k}.wav", tone(3 + k, seed=k)) for k in range(count)]


def test_files_get_the_same_vectors_in_processes(tmp_path):
    model = load_model("compact")
    files = songs(tmp_path, 3)
    (tmp_path / "odd.wav").write_bytes(b"RIFF")
    files.insert(1, tmp_path / "odd.wav")
    here = list(embed_files(files, model, 2))
    there = list(embed_files(files, model, 2, processes=True))
    assert [file.path for file in there] == files
    assert here[1] == there[1]
    assert isinstance(here[1], FileFailure)
    for one, other in zip(here, there, strict=True):
        if isinstance(one, FileEmbedding):
            assert one.content == other.content
            for name in ("start_seconds", "embeddings", "presence", "level_db"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


class Killer(str):
    """A path's name whose arrival ends the process."""

    def __setstate__(self, state):
        os._exit(7)


def test_a_file_that_kills_its_process_is_recorded_and_stops_nothing(
    tmp_path, tiny_model, monkeypatch
):
    files = songs(tmp_path, 4)
    call = Processes.call

    def deadly(self, arguments, stop):
        path, content = arguments
        if path == files[1]:
            content = Killer(content)
            content.made = True  # so that there is a state to set
        return call(self, (path, content), stop)

    monkeypatch.setattr(processes.Processes, "call", deadly)
    found = list(embed_files(files, tiny_model, 2, processes=True))
    assert [type(file) for file in found] == [
        FileEmbedding, FileFailure, FileEmbedding, FileEmbedding]  # fmt: skip
    assert found[1].reason == (
        f"{files[1]} brought down the process that read it, which ended with code 7"
    )


def test_an_index_of_many_files_uses_processes(tmp_path, tiny_model, monkeypatch):
    files = songs(tmp_path / "music", 4)
    asked = []
    call = Processes.call

    def counted(self, arguments, stop):
        asked.append(arguments[0])
        return call(self, arguments, stop)

    monkeypatch.setattr(processes.Processes, "call", counted)
    with_threads = Catalogue.open(tmp_path / "threads", create=True)
    assert with_threads.index([tmp_path / "music"], tiny_model, 2).added == 4
    assert not asked
    monkeypatch.setattr(engines, "WORTH_A_PROCESS", 2)
    catalogue = Catalogue.open(tmp_path / "processes", create=True)
    assert catalogue.index([tmp_path / "music"], tiny_model, 2).added == 4
    assert sorted(asked) == sorted(files)
