import threading

import pytest

from stemwise.errors import BusyError, CatalogueError
from stemwise.library import lease
from stemwise.library.lease import Lease, check_lease, lease_on, unfinished
from stemwise.library.places import place_of, write_text
from stemwise.library.store import one_writer, was_interrupted


@pytest.fixture
def place(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_SECONDS", 60.0)  # those who live beat long before
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    return place_of(f"{bucket}/{tmp_path.name}")


def abandoned(place, monkeypatch):
    """Take the lease as a process that dies at once; the next one is not to wait long."""
    held = lease._take(place)
    monkeypatch.setattr(lease, "DEAD_SECONDS", 0.5)
    held._ended.set()
    held._beats.join()
    return held


def test_there_is_one_writer_and_its_good_end_is_noted(place):
    assert not was_interrupted(place)
    with one_writer(place):
        assert unfinished(place)
        with pytest.raises(BusyError, match="wait until it is done"), one_writer(place):
            pass
        check_lease(place)
    assert not unfinished(place)
    with pytest.raises(RuntimeError, match="full"), lease_on(place):
        raise RuntimeError("full")
    assert unfinished(place)
    with lease_on(place):  # at once: its holder has ended, if not well
        pass
    assert not unfinished(place)
    assert len(lease._database(place).list_tables(limit=10).tables) == 1


def test_of_many_who_try_one_has_it(place):
    won = []
    barrier = threading.Barrier(6)

    def try_it():
        barrier.wait()
        try:
            won.append(lease._take(place))
        except BusyError:
            won.append(None)
        except Exception as error:
            won.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = [held for held in won if held is not None]
    assert one.number == 1
    one.end("ended")


def test_the_lease_of_a_dead_process_is_taken_over_and_that_of_a_living_one_is_not(
    place, monkeypatch
):
    dead = abandoned(place, monkeypatch)
    with lease_on(place):
        assert lease._held[str(place)].number == 2
    dead.beat()  # it was only suspended
    with pytest.raises(CatalogueError, match="another process has taken over"):
        dead.check()


def test_a_holder_looks_before_it_commits_if_it_has_not_beaten_for_long(place, monkeypatch):
    held = abandoned(place, monkeypatch)
    with lease_on(place):
        held.check()  # it has beaten a moment ago
        monkeypatch.setattr(lease, "STALE_SECONDS", 0.0)
        with pytest.raises(CatalogueError, match="run the same command again"):
            held.check()


def test_storage_that_cannot_be_written_is_told_in_one_line(bucket):
    with (
        pytest.raises(CatalogueError, match="cannot be written") as caught,
        lease_on(place_of("s3://no-such-bucket/catalogue")),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_beats_go_on_by_themselves(place):
    held = Lease(place, 1)
    first = lease._read_beat(place, 1)
    with pytest.raises(BusyError):
        lease._watch(place, 1, first)
    held.end("ended")
    assert lease._read_beat(place, 1) == "ended"
    write_text(lease._beat(place, 1), first)
