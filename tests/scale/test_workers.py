import pyarrow as pa
import pytest

from made_collection import add_song
from stemwise.errors import UsageError
from stemwise.library import description
from stemwise.library.embed import FileFailure
from stemwise.library.engines import FileStored
from stemwise.library.store import Store
from stemwise.scale import workers
from stemwise.scale.workers import MOST_ATTEMPTS, Claims, Embedder, Target, outcome


def test_a_content_belongs_to_the_unit_that_asked_first():
    claims = Claims({"known"})
    assert not claims.claim(0, "known")
    assert claims.claim(0, "new")
    assert not claims.claim(1, "new")
    assert claims.claim(0, "new")  # a second attempt at the same unit
    claims.fail(["new"])
    assert claims.claim(1, "new")
    assert [claims.begin(7), claims.begin(7), claims.begin(8)] == [1, 2, 1]


@pytest.fixture
def embedder(cluster, tmp_path, tiny_model):
    """One in this process, and its claims, which are an actor."""
    import ray

    store = Store(tmp_path / "catalogue", tiny_model.fingerprint)
    store.create()
    claims = ray.remote(Claims).options(num_cpus=0).remote(set())
    target = Target(store.uri("segments"), store.table("segments").schema, "2.2")
    yield Embedder(ray.put(tiny_model), target, claims, 1), claims
    ray.kill(claims)


def test_from_the_second_attempt_files_that_kill_are_passed_over(embedder, tmp_path, monkeypatch):
    import ray

    make, claims = embedder
    good = add_song(tmp_path / "good.wav", 3, 0)
    killer = add_song(tmp_path / "killer.wav", 3, 1)
    asked = []

    def killers(paths):
        asked.append(paths)
        return {killer: f"{killer} crashes its decoder (SIGSEGV)"}

    monkeypatch.setattr(workers, "find_killers", killers)
    row = {"unit": 0, "files": [str(good), str(killer)]}
    assert [type(found) for found in outcome(make(row)["report"])] == [FileStored] * 2
    assert not asked  # the first attempt loses no time
    found = {result.path: result for result in outcome(make(row)["report"])}
    assert asked == [[good, killer]]
    assert isinstance(found[good], FileStored)
    assert found[killer] == FileFailure(killer, f"{killer} crashes its decoder (SIGSEGV)")
    for _ in range(MOST_ATTEMPTS - 2):
        ray.get(claims.begin.remote(0))
    results = outcome(make(row)["report"])
    assert [result.path for result in results] == [good, killer]
    assert all(result.unread and "died 5 times" in result.reason for result in results)


def test_segments_go_through_the_model_together_if_asked(embedder, tmp_path, monkeypatch):
    make, _ = embedder
    sizes = []
    plain = description.describe_segments

    def noting(waves, model):
        sizes.append(len(waves))
        return plain(waves, model)

    monkeypatch.setattr(description, "describe_segments", noting)
    files = [str(add_song(tmp_path / f"{seed}.wav", 30, seed)) for seed in range(3)]
    alone = outcome(make({"unit": 0, "files": files[:1]})["report"])
    assert sizes == [15]  # those of the file
    sizes.clear()
    make._batch = 8
    together = outcome(make({"unit": 1, "files": files[1:]})["report"])
    assert 1 < max(sizes) <= 8
    assert [found.segments for found in alone + together] == [15] * 3


def test_machines_with_another_version_are_refused():
    target = Target("memory://x", pa.schema([]), "2.2", version="0.0.1")
    with pytest.raises(UsageError, match="install the same on all"):
        Embedder(None, target, None, 1)
