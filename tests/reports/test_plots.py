import base64
import dataclasses
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from made_reports import SONGS, made_exhibits, made_report
from stemwise.evaluation.exhibits import Confusion, Points, Separated
from stemwise.reports import plots
from stemwise.reports.plots import draw_confusion, draw_points, draw_scores, draw_spectrograms

NASTY = (
    "$",
    "$x$",
    r"$\frac{$",
    r"\$_^{",
    "日本語",
    "العربية",
    "a\x00b\x1bc",
    "bad\udcff",
    "--><x>",
    "",
)


@pytest.fixture
def figures(monkeypatch):
    """Keep what is drawn, besides turning it into bytes."""
    kept = []
    to_bytes = plots._bytes

    def keep(figure, form):
        kept.append(figure)
        return to_bytes(figure, form)

    monkeypatch.setattr(plots, "_bytes", keep)
    return kept


def opened(picture):
    """Return a PNG's pixels or an SVG's root, once it is what it says it is."""
    kind, _, encoded = picture.uri.partition(";base64,")
    data = base64.b64decode(encoded, validate=True)
    assert data == picture.data
    assert picture.alt
    if kind == "data:image/png":
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            return np.asarray(image.convert("RGB"))
    assert kind == "data:image/svg+xml"
    root = ElementTree.fromstring(data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return root


def count_of(root, tag):
    return len(root.findall(f".//{{http://www.w3.org/2000/svg}}{tag}"))


def bars(figure):
    return [bar for bar in figure.axes[0].patches if bar.get_height()]


def test_bars_are_the_scores_and_their_whiskers_the_intervals(figures):
    report = made_report()
    picture = draw_scores(report)
    assert count_of(opened(picture), "path") > 40
    scores = [
        (key, value, ends)
        for part in report["normal"]
        for key, value, ends in (
            (report["normal"][part], "accuracy", "interval"),
            (report["pseudo"][part], "accuracy", "interval"),
            (report["pseudo"][part], "leakage", "leakage_interval"),
        )
    ]
    drawn = bars(figures[0])
    np.testing.assert_allclose(
        [bar.get_height() for bar in drawn], [100 * of[value] for of, value, _ in scores]
    )
    whiskers = [c for c in figures[0].axes[0].collections if hasattr(c, "get_segments")]
    ends = np.array([w.get_segments()[0][:, 1] for w in whiskers])
    np.testing.assert_allclose(ends, [[100 * end for end in of[key]] for of, _, key in scores])
    chance = {
        line.get_ydata()[0] for line in figures[0].axes[0].lines if len(line.get_ydata()) == 2
    }
    assert {0.735, 10.0} <= {round(float(y), 6) for y in chance}
    for told in ("drums", "92.1 (90.0 to 94.4)", "leakage 12.0"):
        assert told in picture.alt


def test_a_score_without_value_is_a_dash_in_place_of_a_bar(figures):
    report = made_report(parts=("bass",))
    report["pseudo"]["bass"] |= {"leakage": None, "leakage_interval": None, "chance": None}
    report["normal"]["bass"]["interval"] = None
    picture = draw_scores(report)
    assert len(bars(figures[0])) == 2
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["–"]
    assert "leakage –" in picture.alt


@pytest.mark.parametrize("report", [{"normal": {}, "pseudo": {}}, {}])
def test_no_part_at_all_still_draws(report):
    opened(draw_scores(report))


def test_an_interval_beside_its_score_is_drawn_on_one_side(figures):
    report = made_report(parts=("bass",))
    report["normal"]["bass"] |= {"accuracy": 0.5, "interval": [0.52, 0.6]}
    draw_scores(report)
    whiskers = [c for c in figures[0].axes[0].collections if hasattr(c, "get_segments")]
    np.testing.assert_allclose(whiskers[0].get_segments()[0][:, 1], [50, 60])


def test_the_confusion_shows_counts_and_shares_with_names(figures):
    confusion = made_exhibits(["drums"]).confusions["drums"]
    picture = draw_confusion("drums", confusion)
    opened(picture)
    left, right = figures[0].axes[:2]
    numbers = [int(text.get_text()) for text in left.texts]
    assert numbers == confusion.votes.flatten().tolist()
    assert len(right.texts) == 10 * 5 - 1  # one pair has no segment
    meshes = [axes.collections[0] for axes in (left, right)]
    np.testing.assert_array_equal(meshes[0].get_array().reshape(10, 10), confusion.votes)
    shares = np.ma.filled(meshes[1].get_array().reshape(10, 5), np.nan)
    np.testing.assert_allclose(shares, 100 * confusion.right)
    assert meshes[1].get_clim() == (0, 100)
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first target at the top
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[0] == "First Song"
    assert names[4] == "a very l…ed, Op. 5"
    assert len(right.get_xticklabels()) == 5


def test_the_confusion_in_words():
    votes = np.array([[5, 3, 0], [0, 6, 1], [0, 0, 5]])
    names = ("one", "two", "three")
    alt = draw_confusion("bass", Confusion(names, names[:1], votes, np.ones((3, 1)))).alt
    assert "20 segments of 3 targets, 80.0 % voted right" in alt
    assert "one taken for two, 3 segments" in alt


def test_a_confusion_of_many_songs_gives_their_number(figures):
    names = tuple(f"song {k}" for k in range(50))
    right = np.full((50, 50), np.nan)
    opened(draw_confusion("bass", Confusion(names, names, np.zeros((50, 50), np.int64), right)))
    left, right = figures[0].axes[:2]
    assert not left.texts
    assert not left.get_xticklabels()
    assert right.get_xlabel() == "background (50 songs)"


def test_the_map_has_a_look_of_its_own_for_each_song(figures):
    points = made_exhibits(["bass"]).points["bass"]
    picture = draw_points("bass", points)
    opened(picture)
    clouds = figures[0].axes[0].collections
    assert len(clouds) == len(SONGS)
    assert sum(len(cloud.get_offsets()) for cloud in clouds) == len(points.songs)
    looks = {
        (tuple(cloud.get_facecolor()[0]), cloud.get_paths()[0].vertices.tobytes())
        for cloud in clouds
    }
    assert len(looks) == len(SONGS)
    assert "40 segments" in picture.alt
    assert "日本の歌" in picture.alt


@pytest.mark.parametrize("count", [0, 1, 12])
def test_a_block_that_tells_nothing_still_makes_a_map(count):
    block, songs = np.zeros((count, 128), np.float32), np.zeros(count, np.int64)
    opened(draw_points("bass", Points(block, songs, ("one",) if count else ())))


def test_spectrograms_share_one_scale(figures):
    separated = made_exhibits(["bass", "drums"]).separated
    image = opened(draw_spectrograms(separated))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100
    axes = figures[0].axes[:6]
    drawn = [one.images[0] for one in axes]
    assert len({image.get_clim() for image in drawn}) == 1
    loudest = max(float(one.mixture_db.max()) for one in separated.values())
    assert drawn[0].get_clim() == (pytest.approx(loudest - 80), pytest.approx(loudest))
    assert tuple(drawn[0].get_extent()) == (0, 10.0, 0, 11.025)
    np.testing.assert_array_equal(drawn[1].get_array(), separated["drums"].reference_db)
    titles = [one.get_title() for one in axes]
    assert titles[0].startswith("drums: mixture (second_song")
    assert titles[2] == "separated, SDR 4.40 dB"
    assert titles[3].startswith("bass: mixture")
    assert figures[0].axes[-1].get_ylabel().startswith("dB")
    assert (axes[0].get_ylabel(), axes[-1].get_xlabel()) == ("kHz", "seconds")


def test_silence_and_an_unknown_sdr_are_drawn(figures):
    silence = np.full((8, 6), -np.inf, np.float32)
    one = Separated(silence, silence, np.full_like(silence, np.nan), 1.0, 8000, float("nan"), "x")
    picture = draw_spectrograms({"bass": one})
    opened(picture)
    assert figures[0].axes[2].get_title() == "separated, SDR –"
    assert "SDR –" in picture.alt


def test_any_name_can_be_drawn():
    exhibits = made_exhibits(segments=9)
    confusion = dataclasses.replace(exhibits.confusions["bass"], targets=NASTY)
    opened(draw_confusion("bass", confusion))
    opened(draw_points("bass", dataclasses.replace(exhibits.points["bass"], names=NASTY)))
    for names in (NASTY[:5], NASTY[5:]):
        named = zip(exhibits.separated.items(), names, strict=True)
        opened(draw_spectrograms(
            {part: dataclasses.replace(one, song=name) for (part, one), name in named}
        ))  # fmt: skip
