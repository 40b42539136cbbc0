"""Every protocol by its name, on a made corpus and on made tracks of Slakh2100's test split."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from made_corpus import RATE_HZ, write_corpus
from made_slakh import write_slakh
from stemwise import protocols
from stemwise.cli import app
from stemwise.corpora.bank import bank_of
from stemwise.corpora.piece import write_manifest
from stemwise.corpora.slakh import cross_songs, load_slakh, pseudo_pieces
from stemwise.errors import CorpusError, UsageError
from stemwise.evaluation import (
    PROTOCOLS,
    Subject,
    choose_protocol,
    evaluate,
    normal_scores,
    pseudo_scores,
    sdr_scores,
    subject_of,
)
from stemwise.models.cascade import Cascade, CascadeShape, Clean, CleanShape
from stemwise.models.checkpoint import Model, save_model
from stemwise.models.direct import Direct, DirectReconst, DirectShape
from stemwise.models.direct_mask import DirectMask, DirectMaskShape
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo10x5, sdr_plan

LOW_HZ = 2000
STFT = {"n_fft": 256, "hop_samples": 128}
LISTS = {
    "slakh-50": pseudo_pieces(50),
    "slakh-40": pseudo_pieces(40),
    "slakh-10x10": {song: cross_songs() for song in cross_songs()},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"valid": 15, "test": 15}, absent={(0, "guitar")})
    return directory


@pytest.fixture(scope="module")
def bank(corpus):
    return bank_of(corpus, RATE_HZ)


def tracks(*names):
    """Return the numbers of the tracks in these lists, sorted."""
    songs = {song for name in names for others in LISTS[name].values() for song in others}
    return sorted(int(song.removeprefix("Track")) for song in songs)


@pytest.fixture(scope="module")
def slakh(tmp_path_factory):
    """A corpus of the tracks of all lists; those of the full cross last for two segments."""
    root, directory = tmp_path_factory.mktemp("slakh2100"), tmp_path_factory.mktemp("slakh")
    short = sorted(set(tracks("slakh-50", "slakh-40")) - set(tracks("slakh-10x10")))
    write_slakh(root, {"train": [1, 2], "test": short}, seconds=10.0, rate_hz=LOW_HZ)
    write_slakh(root, {"train": [3, 4], "test": tracks("slakh-10x10")}, 20.0, LOW_HZ)
    found = load_slakh(root)
    write_manifest(directory, found.pieces, found.about)
    return directory


@pytest.fixture(scope="module")
def slakh_bank(slakh):
    return bank_of(slakh, LOW_HZ)


def waveform_of(shift):
    """A subject whose block of a part is the waveform of the part `shift` places on, as it is."""

    def describe(stems):
        wave = stems.roll(-shift, dims=1)[:, :, 2000:2128]
        return 1000 * wave, torch.ones(stems.shape[:2])

    return Subject(describe, takes_stems=True)


TARGET, BACKGROUND = waveform_of(0), waveform_of(1)


def scores_by(bank, name, subject, **changes):
    protocol = dataclasses.replace(choose_protocol(bank, "test", name), **changes)
    segments = bank.segments("test", 10, 10, protocol.rule)
    return pseudo_scores(bank, segments, subject, protocol)[0]


@pytest.mark.parametrize(
    ("name", "pieces"), [("slakh-50", 50), ("slakh-40", 40), ("slakh-10x10", 100)]
)
def test_a_slakh_protocol_is_its_list_in_one_gallery(slakh_bank, name, pieces):
    protocol = choose_protocol(slakh_bank, "test", name)
    assert (protocol.name, protocol.rule) == (name, "power")
    assert protocol.segments_per_piece == (10 if name == "slakh-10x10" else None)
    segments = slakh_bank.segments("test", 10, 10, "power")
    names = [slakh_bank.pieces[piece].identifier for piece in segments.pieces]
    for i in range(len(PARTS)):
        (gallery,) = protocol.galleries(segments, i)
        met = {
            (names[target], names[background])
            for target, background in zip(gallery.targets, gallery.backgrounds, strict=True)
        }  # a song has one piece here
        sounding = {names[row] for row, table in enumerate(segments.sounding) if table[:, i].any()}
        listed = {(t, b) for t, others in LISTS[name].items() for b in others}
        assert len(listed) == pieces
        assert met == {(target, background) for target, background in listed if target in sounding}
        assert gallery.plan.pieces.shape[0] == sum(
            int(
                segments.sounding[names.index(t)][: len(segments.sounding[names.index(b)]), i].sum()
            )
            for t, b in listed
        )


@pytest.mark.parametrize("name", LISTS)
def test_who_hears_the_target_scores_all(slakh_bank, name):
    scores = scores_by(slakh_bank, name, TARGET)
    assert list(scores) == list(PARTS)
    for part, score in scores.items():
        targets = 10 if part != "drums" else score["labels"]  # some are too quiet for rule B
        assert (score["accuracy"], score["labels"], score["groups"]) == (1.0, targets, 1)
        assert score["chance"] == pytest.approx(1 / targets)
        assert score["leakage"] == (0.0 if name == "slakh-10x10" else None)
        assert score["spread"] is None
    segments = {"slakh-50": 50, "slakh-40": 40, "slakh-10x10": 200}[name]
    assert scores["bass"]["queries"] == segments
    assert scores["drums"]["queries"] < segments


def test_who_hears_the_background_scores_nothing_and_leaks(slakh_bank):
    for name in ("slakh-50", "slakh-40"):  # no background twice: there is nothing to mistake it for
        for score in scores_by(slakh_bank, name, BACKGROUND).values():
            assert score["accuracy"] < 0.4
            assert score["leakage"] is None
    for part, score in scores_by(slakh_bank, "slakh-10x10", BACKGROUND).items():
        if part != "drums":
            assert (score["accuracy"], score["leakage"]) == (0.0, 1.0)


def test_the_full_cross_takes_so_many_segments_of_each_piece(slakh_bank):
    for most, queries in ((1, 100), (2, 200), (10, 200)):
        score = scores_by(slakh_bank, "slakh-10x10", TARGET, segments_per_piece=most)["bass"]
        assert score["queries"] == queries


def test_the_default_is_slakh_50_where_its_songs_are(slakh_bank, bank):
    assert choose_protocol(slakh_bank, "test").name == "slakh-50"
    assert choose_protocol(slakh_bank, "train") == Pseudo10x5()
    assert choose_protocol(bank, "test") == Pseudo10x5()
    assert choose_protocol(bank, "test", groups=1) == Pseudo10x5(groups=1)
    assert choose_protocol(slakh_bank, "test", "pseudo-10x5", 2) == Pseudo10x5(groups=2)


def test_protocols_that_cannot_be_are_refused_in_one_line(slakh_bank, bank):
    with pytest.raises(
        CorpusError, match=r"50 of the 50 songs of slakh-50 .* --protocol pseudo-10"
    ):
        choose_protocol(bank, "test", "slakh-50")
    with pytest.raises(CorpusError, match=r"10 of the 10 songs of slakh-10x10 .* train split"):
        choose_protocol(slakh_bank, "train", "slakh-10x10")
    fewer = dataclasses.replace(
        slakh_bank, pieces=tuple(p for p in slakh_bank.pieces if p.identifier != "Track01937")
    )
    with pytest.raises(CorpusError, match=r"1 of the 40 .* \(the first: Track01937\)"):
        choose_protocol(fewer, "test", "slakh-40")
    assert choose_protocol(fewer, "test") == Pseudo10x5()
    with pytest.raises(UsageError, match="choose from slakh-50, slakh-40, slakh-10x10, pseudo-10x"):
        choose_protocol(bank, "test", "slakh-30")
    with pytest.raises(UsageError, match="slakh-50 has no groups"):
        choose_protocol(slakh_bank, "test", groups=1)


def test_slakh_is_scored_by_rule_b_and_its_real_pieces_by_rule_a(slakh_bank):
    report, _ = evaluate(slakh_bank, TARGET)
    assert report["protocol"] == "slakh-50"
    loud, moving = (slakh_bank.segments("test", 10, 10, rule) for rule in ("power", "range"))
    assert loud.table.sum() < moving.table.sum()
    for i, part in enumerate(PARTS):
        assert report["normal"][part]["queries"] == moving.table[:, i].sum()
    rows = {slakh_bank.pieces[p].identifier: row for row, p in enumerate(loud.pieces)}
    drums = sum(5 * loud.sounding[rows[target]][0, 0] for target in LISTS["slakh-50"])
    assert report["pseudo"]["drums"]["queries"] == drums


def test_evaluation_reports_both_scores_and_is_repeatable(corpus):
    bank = bank_of(corpus, LOW_HZ)
    network = small_network("direct").eval()
    protocol = Pseudo10x5(segments_per_piece=1)
    reports = [evaluate(bank, Subject(network.describe), "test", protocol)[0] for _ in range(2)]
    assert reports[0] == reports[1]
    assert {"split", "songs", "pieces", "protocol", "normal", "pseudo"} < reports[0].keys()
    assert "sdr" not in reports[0]
    assert reports[0]["protocol"] == "pseudo-10x5"
    pseudo = reports[0]["pseudo"]["drums"]
    assert (pseudo["queries"], pseudo["labels"]) == (50, 10)
    assert pseudo["chance"] == pytest.approx(0.1)
    assert 0 <= pseudo["accuracy"] <= 1
    assert 0 <= pseudo["leakage"] <= 1
    assert reports[0]["normal"]["bass"]["labels"] == 15


def test_how_pieces_were_made_is_taken_from_the_corpus(tmp_path):
    pieces = write_corpus(tmp_path, {"test": 15})
    sound = {"soundfont": "OPL3", "programs": {"24": 25}}
    played = [dataclasses.replace(piece, rendering={"guitar": sound}) for piece in pieces[:9]]
    write_manifest(tmp_path, played + pieces[9:], {"corpus": "made"})
    bank = bank_of(tmp_path, LOW_HZ)
    network, protocol = small_network("direct").eval(), Pseudo10x5(segments_per_piece=1)
    pseudo = evaluate(bank, Subject(network.describe), "test", protocol)[0]["pseudo"]
    assert list(pseudo["guitar"]["kinds"]["instrument"]) == ["acoustic guitar"]
    assert pseudo["drums"]["kinds"].keys() == {"tempo"}
    (tmp_path / "manifest.json").unlink()
    pseudo = evaluate(bank, Subject(network.describe), "test", protocol)[0]["pseudo"]
    assert pseudo["guitar"]["kinds"].keys() == {"tempo"}


def test_an_oracle_embedding_scores_all_and_leaks_nothing(bank):
    """The true pitch of the target as its embedding: the protocol must reward it fully."""

    def describe(mixture):
        power = torch.fft.rfft(mixture).abs()
        octaves = [power[:, 1000 * 2**i : 1000 * 2 ** (i + 1)] for i in range(5)]  # 10 s
        peaks = torch.stack([o.argmax(dim=1) / (1000 * 2**i) for i, o in enumerate(octaves)], 1)
        return peaks[:, :, None].expand(-1, -1, 128), torch.ones(len(mixture), 5)

    report, _ = evaluate(bank, Subject(describe), "test")
    for part in ("drums", "bass", "piano", "guitar"):
        assert report["pseudo"][part]["accuracy"] > 0.95
        assert report["pseudo"][part]["leakage"] < 0.05


def test_pseudo_10x5_leaks_for_who_hears_the_background(bank):
    for score in scores_by(bank, "pseudo-10x5", BACKGROUND).values():
        assert (score["accuracy"], score["leakage"]) == (0.0, 1.0)


def test_permuting_the_parts_permutes_the_scores(slakh_bank):
    def muddled(stems):
        return TARGET.describe(stems + stems.sum(dim=1, keepdim=True))

    subject = Subject(muddled, takes_stems=True)
    segments = slakh_bank.segments("test", 10, 10)
    mirrored = dataclasses.replace(  # the same pieces, their parts in reverse
        slakh_bank,
        pieces=tuple(dataclasses.replace(p, offsets=p.offsets[::-1]) for p in slakh_bank.pieces),
    )
    back = dataclasses.replace(segments, sounding=[table[:, ::-1] for table in segments.sounding])
    protocol = dataclasses.replace(
        choose_protocol(slakh_bank, "test", "slakh-10x10"), segments_per_piece=1
    )
    for found, wanted in (
        (normal_scores(mirrored, back, subject), normal_scores(slakh_bank, segments, subject)),
        (pseudo_scores(mirrored, back, subject, protocol),
         pseudo_scores(slakh_bank, segments, subject, protocol)),
    ):  # fmt: skip
        (found, _), (wanted, _) = found, wanted
        assert [found[part] for part in PARTS] == [wanted[part] for part in PARTS[::-1]]
    assert len({score["accuracy"] for score in wanted.values()}) == len(PARTS)


def halved(mixture):
    """Every part is half of the mixture; silent for a second in the middle."""
    estimate = mixture[:, None].repeat(1, len(PARTS), 1) / 2
    estimate[..., 4 * LOW_HZ : 5 * LOW_HZ] = 0
    return estimate


def sdr_read_aloud(bank, segments, count, separate=halved):
    """The mean SDR, the number of segments and of windows left out, of each part."""
    plan, present = sdr_plan(segments, 0, count)
    found = {part: ([], 0) for part in PARTS}
    for b in range(len(present)):
        stems = np.stack(
            [
                bank.stem(plan.pieces[b, 0, i], i, plan.starts[b, 0, i], segments.length_samples)
                if present[b, i]
                else np.zeros(segments.length_samples, np.float32)
                for i in range(5)
            ]
        )
        estimates = separate(torch.from_numpy(stems.sum(axis=0)[None]))[0].numpy()
        for i in np.flatnonzero(present[b]):
            windows, left_out = [], 0
            for w in range(10):
                s, e = (
                    x[i, w * LOW_HZ : (w + 1) * LOW_HZ].astype(float) for x in (stems, estimates)
                )
                if not s.any() or not e.any():
                    left_out += 1
                else:
                    windows.append(10 * math.log10((s**2).sum() / ((s - e) ** 2).sum()))
            values, before = found[PARTS[i]]
            found[PARTS[i]] = ([*values, np.mean(windows)], before + left_out)
    return {part: (np.mean(v), len(v), out) for part, (v, out) in found.items()}


@pytest.mark.parametrize("count", [20, 1000])
def test_sdr_reads_as_its_definition(slakh_bank, count):
    segments = slakh_bank.segments("test", 10, 10)
    calls = []
    scores, _ = sdr_scores(
        slakh_bank, segments, halved, count=count, progress=lambda d, t: calls.append((d, t))
    )
    total = min(count, int(segments.table.all(axis=1).sum()))
    assert calls[-1] == (total, total)
    for part, (mean, number, left_out) in sdr_read_aloud(slakh_bank, segments, count).items():
        score = scores[part]
        assert score["sdr_db"] == pytest.approx(mean, abs=1e-5)
        assert (score["segments"], score["dropped_windows"]) == (number, left_out)
        assert 0 < number < total
        assert left_out == number
        assert math.isfinite(score["si_sdr_db"])


def test_no_segment_in_which_all_sounds_is_no_sdr(slakh_bank):
    segments = slakh_bank.segments("test", 10, 10)
    silent = dataclasses.replace(segments, sounding=[t & False for t in segments.sounding])
    scores, shown = sdr_scores(slakh_bank, silent, halved, ["bass"])
    nothing = {"sdr_db": None, "si_sdr_db": None, "interval_db": None}
    assert scores == {"bass": nothing | {"segments": 0, "dropped_windows": 0}}
    assert shown == {}


NETWORKS = {
    "clean": (Clean, CleanShape, {"n_mels": 20, "network": "unet", "parts": ("bass",)}),
    "cascade": (
        Cascade, CascadeShape,
        {"n_mels": 20, "network": "unet", "parts": ("bass",),
         "separator_channels": (3, 4, 5)},
    ),
    "direct": (Direct, DirectShape, {"n_mels": 0, "presence": "length"}),
    "direct-reconst": (DirectReconst, DirectShape, {"n_mels": 0, "presence": "length"}),
    "direct-mask": (DirectMask, DirectMaskShape, {"n_mels": 20, "mask_channels": (3, 4, 5)}),
}  # fmt: skip


def small_network(method):
    network, shape, settings = NETWORKS[method]
    torch.manual_seed(0)
    return network(shape(sample_rate_hz=LOW_HZ, **STFT, channels=(3, 4, 10), **settings))


@pytest.mark.parametrize("method", NETWORKS)
def test_every_method_is_scored_in_its_parts(corpus, method):
    bank = bank_of(corpus, LOW_HZ)
    subject = subject_of(Model(small_network(method), method, {}), "cpu")
    assert subject.takes_stems == (method == "clean")
    units = []

    class Bar:
        def __init__(self, unit):
            units.append(unit)

        def __enter__(self):
            return lambda done, total: None

        def __exit__(self, *error):
            pass

    protocol = Pseudo10x5(segments_per_piece=1)
    report, _ = evaluate(bank, subject, "test", protocol, sdr_segments=6, bar=Bar)
    parts = ["bass"] if method in ("clean", "cascade") else list(PARTS)
    assert list(report["normal"]) == list(report["pseudo"]) == parts
    separates = method in ("cascade", "direct-reconst", "direct-mask")
    assert len(units) == (3 if separates else 2)
    assert ("sdr" in report) == separates
    if separates:
        assert list(report["sdr"]) == parts
        for score in report["sdr"].values():
            assert score["segments"] <= 6


def test_a_part_that_never_sounds_has_no_score_and_no_end(tmp_path):
    absent = {(number, "piano") for number in range(15)}
    write_corpus(tmp_path, {"test": 15}, absent=absent)
    silent = bank_of(tmp_path, RATE_HZ)
    subject = dataclasses.replace(TARGET, separate=lambda mixture: mixture[:, None].repeat(1, 5, 1))
    report, exhibits = evaluate(silent, subject)
    assert report["normal"]["piano"]["accuracy"] is None
    assert report["pseudo"]["piano"]["accuracy"] is None
    assert report["sdr"]["piano"]["segments"] == 0
    assert report["pseudo"]["bass"]["accuracy"] == 1
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert "piano" not in {*exhibits.confusions, *exhibits.points, *exhibits.separated}


def test_devices_that_are_not_there_are_refused():
    model = Model(small_network("direct"), "direct", {})
    assert subject_of(model).device == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="no device 'tpu'; choose from auto, cpu"):
        subject_of(model, "tpu")


def test_command_line_scores_slakh_by_a_protocol_of_choice(slakh, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(small_network("direct-reconst"), path, name="made", provenance={})
    common = ["evaluate", str(path), "--corpus", str(slakh), "--device", "cpu", "-o", str(tmp_path)]

    def run(*words):
        return CliRunner().invoke(app, [*common, *words])

    told = run("--protocol", "slakh-40", "--sdr-segments", "10", "--json")
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout.strip().splitlines()[-1])
    assert (report["model"]["name"], report["protocol"]) == ("made", "slakh-40")
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["pseudo"]["bass"]["queries"] == 40
    assert 0 < report["sdr"]["bass"]["segments"] <= 10
    table = run("--sdr-segments", "0")
    assert "slakh-50" in table.stdout
    assert "SDR" not in table.stdout
    assert isinstance(run("--protocol", "slakh").exception, UsageError)
    assert isinstance(run("--split", "train", "--protocol", "slakh-50").exception, CorpusError)


@pytest.mark.parametrize("name", ["normal", *PROTOCOLS])
def test_every_protocol_has_its_paragraph(name):
    assert f"- **{name}**: " in protocols.__doc__
