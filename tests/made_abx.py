"""A made sample in exactly the layout of the Inst-Sim-ABX-Dataset; its answers are invented."""

import csv
import json

from stemwise.parts import PARTS

CAMPAIGNS = {"202404": PARTS, "202407": (*PARTS, "mix")}
COLUMNS = (
    "", "ex_name", "subject_id", "reference", "sample_a", "sample_b", "answer_timbre",
    "answer_rhythm", "answer_melody", "answer_total", "choice_time",
)  # fmt: skip
CRITERIA = ("timbre", "rhythm", "melody", "total")
TURNED = {"A+": "B+", "A-": "B-", "B+": "A+", "B-": "A-", "NA": "NA", "N/A": "N/A"}
LISTENERS = 5
# What each listener answers, of A or Y against B or C. Majorities: XYC A, none, none (two valid
# answers), A; XAB B (four of five), none (three of four), none, B.
OPINIONS = {
    "XYC": {
        "timbre": ("A+", "A+", "A-", "A+", "A+"),
        "rhythm": ("A+", "NA", "B-", "A-", "B+"),
        "melody": ("NA", "NA", "A+", "A-", "N/A"),
        "total": ("A+", "A+", "A-", "A+", "A-"),
    },
    "XAB": {
        "timbre": ("B+", "B-", "B-", "A-", "B+"),
        "rhythm": ("B+", "B-", "NA", "B-", "A-"),
        "melody": ("A+", "B-", "A-", "B+", "NA"),
        "total": ("B-", "B-", "B-", "B+", "B-"),
    },
}


def write_abx(
    root,
    tracks=(1876, 1877, 1878, 1879),
    *,
    samples=2,
    clip_samples=219_136,
    rate_hz=44100,
    folders=("sample_configs", "sample_configs"),
):
    """Write set 0 of so many samples for both campaigns, and the answers of five listeners.

    Sample n plays track n as X and Y, n + 1 as C, n + 2 as A and n + 3 as B, counted round
    `tracks`. X is their first clip, Y the second; C, A and B are first clips. In odd samples C is
    played before Y. Every listener also gets two dummy questions.
    """
    rows = []
    for (campaign, parts), folder in zip(CAMPAIGNS.items(), folders, strict=True):
        config = {
            "0": {
                str(n): sample_of(tracks, n, parts, clip_samples, rate_hz) for n in range(samples)
            }
        }
        (root / folder).mkdir(parents=True, exist_ok=True)
        path = root / folder / f"dict_triplet_{campaign}.json"
        path.write_text(json.dumps(config, indent=4))
        for listener in range(LISTENERS):
            rows += rows_of(campaign, config, listener)
    (root / "csvs").mkdir(exist_ok=True)
    write_table(root, [[str(number), *row] for number, row in enumerate(rows)])


def write_table(root, rows, columns=COLUMNS):
    with (root / "csvs" / "inst_sim_abx_answers.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def read_table(root):
    with (root / "csvs" / "inst_sim_abx_answers.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def sample_of(tracks, n, parts, clip_samples, rate_hz):
    x, c, a, b = (tracks[(n + step) % len(tracks)] for step in range(4))
    clips = {"X": (x, 0), "Y": (x, 1), "C": (c, 0), "A": (a, 0), "B": (b, 0)}
    entries = {
        kind: {
            "ID": track,
            "seg": place,
            "filename": f"{kind}_{track}-{place}.wav",
            "sr": rate_hz,
            "index_s": place * clip_samples,
            "index_e": (place + 1) * clip_samples,
        }
        for kind, (track, place) in clips.items()
    }
    return {
        test: {part: {kind: entries[kind] for kind in kinds} for part in parts}
        for test, kinds in {"test1": "XYC", "test2": "XAB"}.items()
    }


def rows_of(campaign, config, listener):
    """Yield what one listener answered, without the number of the row."""
    subject = [f"ex{campaign}", f"subject{listener}"]
    for number, samples in config.items():
        for n, tests in samples.items():
            for test, parts in tests.items():
                for part, entries in parts.items():
                    paths = [
                        f"set{number}/{n}/{part}/{entry['filename']}" for entry in entries.values()
                    ]
                    name = "XYC" if test == "test1" else "XAB"
                    answers = [OPINIONS[name][criterion][listener] for criterion in CRITERIA]
                    if name == "XYC" and int(n) % 2:
                        paths[1:] = paths[:0:-1]
                        answers = [TURNED[answer] for answer in answers]
                    yield [*subject, *paths, *answers, "23456"]
    for x, a, b, answer in (("X1", "X1", "B1", "A+"), ("X2", "A2", "X2", "B+")):
        paths = [f"samples/dummy{name}.wav" for name in (x, a, b)]
        yield [*subject, *paths, *[answer] * 4, "12345"]
