"""What listeners find alike: the answers of a listening test on Slakh2100's test pieces.

Listeners heard a reference X and two clips of 5 s, of one part or of the mixture, and said which is
more alike to X in timbre, rhythm, melody and in total: A+ or A-, B+ or B-, or NA. (What plus and
minus mean is not said; + seems the surer.) The answers are at
https://github.com/zume06/Inst-Sim-ABX-Dataset, for research only, and who uses them cites the paper
below::

    ROOT/csvs/inst_sim_abx_answers.csv
    ROOT/sample_configs/dict_triplet_202404.json    older revisions: in sample_dicts
    ROOT/sample_configs/dict_triplet_202407.json

The CSV has one answer a row, with a path ``set2/0/piano/X_1876-3.wav`` for each clip: set, sample,
part, file. The JSON file of the row's campaign (``ex202404``, ``ex202407``) says where in the piece
that is.

*XAB* triplets are of three songs. In *XYC* triplets Y is another moment of X's song, and C is of
another song. The clips are A and B here as their files are named: `Triplet.a` is A or Y, and
`Triplet.b` is B or C. In the CSV Y and C often change sides; answers are turned with them.

Both campaigns played triplets of the same sets. They stay apart, as they were published, so that
one triplet can be there twice.

Left out and counted: dummy questions (``samples/dummy…``, where a clip is X itself), and rows whose
clips are not in the JSON file.

Audio is not part of it; a clip is a stretch of a piece that `stemwise.corpora.slakh` names.

References::

    @inproceedings{hashizume2025investigation,
      title = {Investigation of Perceptual Music Similarity Focusing on Each Instrumental Part},
      author = {Hashizume, Yuka and others},
      booktitle = {Proc. IEEE International Conference on Acoustics, Speech and Signal Processing
                   (ICASSP)},
      year = {2025},
      note = {arXiv:2502.02138}
    }
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from stemwise.corpora.slakh import identifier
from stemwise.errors import CorpusError
from stemwise.parts import PARTS

__all__ = ["ABOUT", "CRITERIA", "MIX", "AbxAnswers", "Clip", "Triplet", "load_abx"]

CRITERIA = ("timbre", "rhythm", "melody", "total")
MIX = "mix"  # in place of a part
ABOUT = {
    "corpus": "Inst-Sim-ABX-Dataset",
    "citation": "Hashizume et al.: Investigation of Perceptual Music Similarity Focusing on Each "
    "Instrumental Part, ICASSP 2025, arXiv 2502.02138",
    "licence": "research only, with citation",
}
CAMPAIGNS = {"ex202404": "dict_triplet_202404.json", "ex202407": "dict_triplet_202407.json"}
FOLDERS = ("sample_configs", "sample_dicts")
TABLE = "csvs/inst_sim_abx_answers.csv"
CLIPS = ("reference", "sample_a", "sample_b")
COLUMNS = ("ex_name", *CLIPS, *(f"answer_{criterion}" for criterion in CRITERIA))
DUMMY = "samples/dummy"
TURNED = {"A+": "B+", "A-": "B-", "B+": "A+", "B-": "A-", "NA": "NA"}
GET = "clone https://github.com/zume06/Inst-Sim-ABX-Dataset again and give its folder"

Test = Literal["XAB", "XYC"]
TESTS: Mapping[str, Test] = {"XAB": "XAB", "XYC": "XYC"}
LEFT = ("A", "Y")  # the clips that are A here


@dataclass(frozen=True)
class Clip:
    """A stretch of a song, from `start_seconds` up to `stop_seconds`."""

    song: str
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True)
class Triplet:
    """Three clips, and what the listeners of one campaign answered.

    Attributes:
        campaign: ``ex202404`` or ``ex202407``.
        part: one of ``PARTS``, or ``mix``.
        test: ``XAB``: three songs; ``XYC``: `a` is of the reference's song.
        reference: X.
        a: A or Y.
        b: B or C.
        answers: criterion to the listeners' answers, each A+, A-, B+, B- or NA; in each criterion
            as many as there were listeners, in the order of the table.
    """

    campaign: str
    part: str
    test: Test
    reference: Clip
    a: Clip
    b: Clip
    answers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class AbxAnswers:
    """The listening test.

    Attributes:
        triplets: In the order of the table, each once per campaign.
        dummies: Rows left out as dummy questions.
        unresolved: Rows left out because a clip is not in the campaign's JSON file, or because the
            clips are neither X, A, B nor X, Y, C.
    """

    triplets: tuple[Triplet, ...]
    dummies: int
    unresolved: int


_Question = tuple[str, str, Test, Clip, Clip, Clip]  # the fields of Triplet but its answers


class _Entry(BaseModel):
    """A clip as the JSON files have it; other keys are not read."""

    track: int = Field(alias="ID", ge=0)
    filename: str
    rate_hz: int = Field(alias="sr", gt=0)
    first_sample: int = Field(alias="index_s", ge=0)
    end_sample: int = Field(alias="index_e")

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end_sample <= self.first_sample:
            raise ValueError("index_e must be above index_s")
        return self

    def clip(self) -> Clip:
        start_seconds, stop_seconds = (
            sample / self.rate_hz for sample in (self.first_sample, self.end_sample)
        )
        return Clip(identifier(self.track), start_seconds, stop_seconds)


# by set, sample, test, part, and X, A, B, Y or C
_SAMPLES = TypeAdapter(dict[str, dict[str, dict[str, dict[str, dict[str, _Entry]]]]])


def load_abx(root: Path) -> AbxAnswers:
    """Return the listening test in `root`, a clone of the repository.

    Raises:
        CorpusError: a file is missing or cannot be read, a column is missing, or a row has an
            answer that is none.
    """
    places = {campaign: _places(root, name) for campaign, name in CAMPAIGNS.items()}
    heard: dict[_Question, list[list[str]]] = {}
    dummies = unresolved = 0
    for line, row in _rows(root / TABLE):
        if any(row[column].startswith(DUMMY) for column in CLIPS):
            dummies += 1
            continue
        asked = _question(row, places.get(row["ex_name"], {}))
        if asked is None:
            unresolved += 1
            continue
        question, turned = asked
        answers = [_answer(row, criterion, line) for criterion in CRITERIA]
        heard.setdefault(question, []).append([TURNED[a] if turned else a for a in answers])
    triplets = tuple(
        Triplet(*question, dict(zip(CRITERIA, zip(*rows, strict=True), strict=True)))
        for question, rows in heard.items()
    )
    return AbxAnswers(triplets, dummies, unresolved)


def _places(root: Path, name: str) -> dict[str, set[Clip]]:
    """Return the clips of a campaign by their path ``set2/0/piano/X_1876-3.wav``.

    And by its end, ``piano/X_1876-3.wav``, for rows whose set or sample is not in the file. A key
    that could mean several clips holds all of them.
    """
    paths = [root / folder / name for folder in FOLDERS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise CorpusError(f"no {name} in {' or '.join(FOLDERS)} of {root}; {GET}")
    try:
        sets = _SAMPLES.validate_json(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error}); {GET}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(map(str, first["loc"])) or "the file"
        raise CorpusError(f"{path} cannot be read ({where}: {first['msg']}); {GET}") from None
    places: dict[str, set[Clip]] = {}
    for number, samples in sets.items():
        for sample, tests in samples.items():
            for parts in tests.values():
                for part, entries in parts.items():
                    for entry in entries.values():
                        end = f"{part}/{entry.filename}"
                        for key in (f"set{number}/{sample}/{end}", end):
                            places.setdefault(key, set()).add(entry.clip())
    return places


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line and the row, of all answers; absent cells are empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{path} has no column {', '.join(missing)}; {GET}")
            for row in reader:
                yield reader.line_num, row
    except FileNotFoundError:
        raise CorpusError(f"no {TABLE} in {path.parents[1]}; {GET}") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise CorpusError(f"{path} cannot be read ({error}); {GET}") from None


def _question(
    row: Mapping[str, str], places: Mapping[str, set[Clip]]
) -> tuple[_Question, bool] | None:
    """Return what was asked, and whether A and B changed sides; None if it cannot be told."""
    paths = [PurePosixPath(row[column]) for column in CLIPS]
    kinds = [path.name.partition("_")[0] for path in paths]  # X, A, B, Y or C
    turned = kinds[2] in LEFT
    if turned:
        paths[1:], kinds[1:] = paths[:0:-1], kinds[:0:-1]
    test, parts = TESTS.get("".join(kinds)), {path.parent.name for path in paths}
    reference, a, b = (_clip(path, places) for path in paths)
    part = parts.pop()
    if not (test and reference and a and b) or parts or part not in (*PARTS, MIX):
        return None
    return (row["ex_name"], part, test, reference, a, b), turned


def _clip(path: PurePosixPath, places: Mapping[str, set[Clip]]) -> Clip | None:
    for key in (str(path), f"{path.parent.name}/{path.name}"):
        clips = places.get(key, set())
        if len(clips) == 1:
            return next(iter(clips))
    return None


def _answer(row: Mapping[str, str], criterion: str, line: int) -> str:
    answer = row[f"answer_{criterion}"].replace("N/A", "NA")
    if answer not in TURNED:
        raise CorpusError(
            f"line {line} of {TABLE}: answer_{criterion} is {answer!r}, wanted one of "
            f"{', '.join(TURNED)}; {GET}"
        )
    return answer
