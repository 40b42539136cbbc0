from made_segments import SEGMENTS, song_of
from stemwise.parts import PARTS
from stemwise.protocols import cross_plan, normal_plan, tempo_groups


def test_tempo_groups_hold_neighbours_and_each_song_once():
    groups = tempo_groups(SEGMENTS, 15, seed=0)
    assert [len(g) for g in groups] == [15, 15]
    songs = [set(SEGMENTS.songs[g].tolist()) for g in groups]
    assert all(len(s) == 15 for s in songs)
    assert not songs[0] & songs[1]
    tempos = [SEGMENTS.tempos_bpm[g] for g in groups]
    assert tempos[0].max() <= tempos[1].min()


def test_cross_plan_reads_as_its_definition():
    part, group = 2, tempo_groups(SEGMENTS, 15, seed=0)[0]
    pseudo = cross_plan(SEGMENTS, part, group, targets=10)
    expected = []
    for target in group[:10]:
        for background in group[10:]:
            for s in range(20):
                if SEGMENTS.sounding[target][s, part]:
                    row = [100 + background] * 5
                    row[part] = 100 + target
                    expected.append((row, s * 10, song_of(100 + target), song_of(100 + background)))
    assert pseudo.plan.pieces[:, 0].tolist() == [e[0] for e in expected]
    assert pseudo.plan.starts[:, 0].tolist() == [[e[1]] * 5 for e in expected]
    assert pseudo.targets.tolist() == [e[2] for e in expected]
    assert pseudo.backgrounds.tolist() == [e[3] for e in expected]
    assert not pseudo.plan.gains_db.any()


def test_normal_plan_holds_every_segment_once():
    plan = normal_plan(SEGMENTS)
    assert plan.pieces.shape == (80 * 20, 1, len(PARTS))
    places = {
        (int(p[0]), int(s[0])) for p, s in zip(plan.pieces[:, 0], plan.starts[:, 0], strict=True)
    }
    assert places == {(100 + p, s * 10) for p in range(80) for s in range(20)}
