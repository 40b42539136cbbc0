import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from made_reports import made_exhibits, made_report
from stemwise.errors import StemwiseError
from stemwise.evaluation.exhibits import Exhibits, Points
from stemwise.reports.markdown import report_tables
from stemwise.reports.writing import find_reports, load_report, report_lines, write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}
EVIL = '<script>alert("1")</script>|`x`[l](javascript:x)*b*" onerror="y\n# z'


class Page(HTMLParser):
    """What a test asks of a page; raises where tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.rows, self.said = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if "style" not in self.open:
            self.said.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "new" / "report"
    return write_report(made_report(), made_exhibits(["drums", "bass"], segments=20), folder)


def page_of(paths):
    return Page(paths["html"].read_text("utf-8"))


def markdown_rows(lines):
    """Return the cells of all tables, split at the bars that are not escaped."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if set("".join(row)) != {"-"}]


def blanked(thing):
    """Return a report whose numbers are all null."""
    if isinstance(thing, dict):
        return {key: blanked(value) for key, value in thing.items()}
    return None if isinstance(thing, int | float | list) else thing


def test_three_files_and_nothing_else(written):
    assert list(written) == ["json", "md", "html"]
    for kind, path in written.items():
        assert path.name == f"report.{kind}"
        assert path.is_file()
    assert len(list(written["json"].parent.iterdir())) == 3


def test_the_json_is_the_report_and_loads_from_file_and_folder(written):
    assert json.loads(written["json"].read_text("utf-8")) == made_report()
    assert load_report(written["json"]) == made_report()
    assert load_report(written["json"].parent) == made_report()


def test_the_markdown_is_what_the_command_line_prints(written):
    assert written["md"].read_text("utf-8") == "\n".join(report_lines(made_report())) + "\n"


def test_every_score_is_in_the_markdown():
    report = made_report()
    rows = markdown_rows(report_lines(report))
    for part in report["normal"]:
        normal, pseudo, sdr = (report[key][part] for key in ("normal", "pseudo", "sdr"))
        versions, hubs = normal["versions"], normal["hubness"]
        own = [row[1:] for row in rows if row[0] == part]
        assert own[0] == [
            "{:.1f} ({:.1f} to {:.1f})".format(
                *(100 * x for x in (normal["accuracy"], *normal["interval"]))
            ),
            "0.7",
            "{:.1f} ({:.1f} to {:.1f})".format(
                *(100 * x for x in (pseudo["accuracy"], *pseudo["interval"]))
            ),
            "3.4",
            "10.0",
            "{:.1f} ({:.1f} to {:.1f})".format(
                *(100 * x for x in (pseudo["leakage"], *pseudo["leakage_interval"]))
            ),
            f"{normal['presence_auc']:.3f}",
            f"{normal['presence_brier']:.3f}",
        ]
        assert own[1] == [
            f"{100 * versions['accuracy']:.1f} (30.3 to 50.4)",
            "1.0",
            f"{hubs['skewness']:.2f}",
            "4.1",
            "21.3",
        ]
        assert own[2] == [
            "{:.2f} ({:.2f} to {:.2f})".format(sdr["sdr_db"], *sdr["interval_db"]),
            f"{sdr['si_sdr_db']:.2f}",
            str(sdr["segments"]),
            str(sdr["dropped_windows"]),
        ]
    abx = next(row for row in rows if row[0] == "mix")
    assert abx == ["mix", "68.3 (65.2 to 77.1)", "211", "–", "–"]
    text = "\n".join(report_lines(report))
    assert text.startswith(
        "# made_cascade on band, test split, MES-Pseudo by pseudo-10x5\n\nInvented, for tests.\n"
    )
    assert "MES-Normal alone rewards leakage" in text
    assert "museval's framewise SDR; not comparable with BSS Eval's 512-tap SDR" in text
    assert "XYC" not in text
    assert "3 triplets left out" in text


def test_where_the_numbers_come_from_is_told():
    told = dict(row for row in markdown_rows(report_lines(made_report())) if len(row) == 2)
    assert told["recipe"] == "made_cascade"
    assert told["seed"] == "0"
    assert told["commit of training"] == "a105edf"
    assert told["commit of evaluation"] == "abc1234"
    assert told["parameters"] == "3,145,728"
    assert told["core-minutes of training"] == "98.7"
    assert told["machine"] == "2 cores, no GPU"
    assert told["command"] == "stemwise evaluate runs/x --corpus data/band"
    assert told["torch"] == "2.13.0+cpu"


def test_what_has_no_value_is_a_dash(tmp_path):
    report = blanked(made_report())
    paths = write_report(report, Exhibits(), tmp_path)
    rows = markdown_rows(paths["md"].read_text("utf-8").splitlines())
    main = next(row for row in rows if row[0] == "drums")
    assert main[1:] == ["–"] * 8
    assert ["seed", "–"] in rows
    for kind in ("md", "html"):
        text = " ".join(page_of(paths).said) if kind == "html" else paths["md"].read_text("utf-8")
        assert not re.search(r"\b(None|nan|null|inf)\b", text)


def test_kinds_of_sound_have_a_table_each():
    report = made_report()
    score = {"accuracy": 0.25, "interval": [0.2, 0.3], "leakage": None, "queries": 9, "songs": 4}
    report["pseudo"]["bass"]["kinds"] = {"instrument": {"synth | bass": score}, "tempo": {}}
    tables = {table.caption: table for table in report_tables(report)}
    table = tables["MES-Pseudo by instrument"]
    assert table.rows == (("bass", "synth | bass", "25.0 (20.0 to 30.0)", "–", "4"),)
    assert "MES-Pseudo by tempo" not in tables
    assert "| bass | synth \\| bass | 25.0 (20.0 to 30.0) | – | 4 |" in report_lines(report)


def test_what_is_missing_has_no_table():
    report = made_report(parts=("bass", "drums"), method="baseline", recipe=None, seed=None)
    for key in ("sdr", "abx"):
        report[key] = None
    for score in report["normal"].values():
        score["versions"] = None
    captions = [table.caption for table in report_tables(report)]
    assert captions == ["Scores by part", "Hubness", "Where the numbers come from"]
    assert [row[0] for row in report_tables(report)[0].rows] == ["drums", "bass"]
    for score in report["normal"].values():
        del score["versions"], score["hubness"], score["interval"]
    del report["sdr"], report["abx"], report["made"]["date"]
    lines = report_lines(report)
    assert "| drums | 92.1 | 0.7 |" in "\n".join(lines)
    assert not [line for line in lines if line.startswith("| date")]


def test_the_page_holds_all_it_shows(written):
    page = page_of(written)
    assert page.tags[0] == ("html", {"lang": "en"})
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    text = written["html"].read_text("utf-8")
    assert "@import" not in text
    assert "url(" not in text
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/"))
    assert "prefers-color-scheme: dark" in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )


def test_every_figure_has_words_and_is_an_image(written):
    images = page_of(written).all("img")
    assert len(images) == 1 + 2 + 2 + 1  # scores, confusions, maps, spectrograms
    for image in images:
        assert len(image["alt"]) > 40
        kind, _, encoded = image["src"].partition(";base64,")
        data = base64.b64decode(encoded, validate=True)
        assert len(data) > 5000
        if kind == "data:image/png":
            assert data.startswith(b"\x89PNG\r\n\x1a\n")
        else:
            assert kind == "data:image/svg+xml"
            ElementTree.fromstring(data)


def test_the_page_has_the_tables_of_the_markdown(written):
    page = page_of(written)
    plain = [[cell.replace("\\", "") for cell in row]
             for row in markdown_rows(report_lines(made_report()))]  # fmt: skip
    assert page.rows == plain
    assert len(page.all("caption")) == len(page.all("table")) == len(report_tables(made_report()))
    assert {th.get("scope") for th in page.all("th")} == {"col", "row"}


def test_the_page_is_in_order(written):
    page = page_of(written)
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(identifiers)) == len(identifiers)
    assert {link["href"][1:] for link in page.all("a")} == set(identifiers)
    assert [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)] == [1] + [2] * 6


def test_a_page_without_figures_has_no_section_for_them(tmp_path):
    page = page_of(write_report(made_report(), Exhibits(), tmp_path))
    assert len(page.all("img")) == 1
    assert "Maps" not in page.said


def test_names_cannot_break_out(tmp_path):
    report = made_report(name=EVIL, recipe=EVIL, summary=EVIL)
    report["corpus"]["name"] = report["made"]["machine"] = EVIL
    report["abx"]["XAB"]["drums"][EVIL] = report["abx"]["XAB"]["drums"].pop("total")
    exhibits = made_exhibits(["drums"], segments=9)
    names = (EVIL, *exhibits.points["drums"].names[1:])
    points = dataclasses.replace(exhibits.points["drums"], names=names)
    paths = write_report(report, dataclasses.replace(exhibits, points={"drums": points}), tmp_path)
    page = page_of(paths)
    assert not page.all("script")
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert '<script>alert("1")</script>' in "".join(page.said)
    lines = paths["md"].read_text("utf-8").splitlines()
    assert not [line for line in lines if re.search(r"(?<!\\)<", line)]
    assert not [line for line in lines if line.startswith("# z")]
    width = None
    for line in lines:
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.split(r"(?<!\\)\|", line))
        assert cells == (width or cells), line
        width = cells


def test_what_no_encoding_has_is_written_all_the_same(tmp_path):
    paths = write_report(made_report(name="x\udcff\x00y"), Exhibits(), tmp_path)
    assert load_report(tmp_path)["model"]["name"] == "x?\x00y"
    assert "\x00" not in paths["html"].read_text("utf-8") + paths["md"].read_text("utf-8")


def test_numbers_that_json_has_not_are_null(tmp_path):
    report = made_report()
    report["sdr"]["drums"]["sdr_db"] = float("inf")
    report["normal"]["drums"]["interval"] = (float("nan"), 0.5)
    write_report(report, Exhibits(), tmp_path)
    found = load_report(tmp_path)
    assert found["sdr"]["drums"]["sdr_db"] is None
    assert found["normal"]["drums"]["interval"] == [None, 0.5]
    assert report["sdr"]["drums"]["sdr_db"] == float("inf")


def test_a_report_that_cannot_be_drawn_leaves_the_old_one(tmp_path):
    paths = write_report(made_report(), Exhibits(), tmp_path)
    before = {path: path.read_bytes() for path in paths.values()}
    broken = Points(np.zeros((3, 128), np.float32), np.zeros(2, np.int64), ("one",))
    with pytest.raises(IndexError):
        write_report(made_report(0.01), Exhibits(points={"bass": broken}), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_cannot_be_put_in_place_leaves_no_rest(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(made_report(), Exhibits(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no report can be read"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "is of the format None"),
        (b'{"format": "stemwise-report-9"}', "is of the format 'stemwise-report-9'"),
        (b'{"format": "stemwise-report-1"}', "has no 'model'"),
        (b'{"format": "stemwise-report-1", "model": null}', "has no 'model'"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    for given in (path, tmp_path) if content is not None else (path,):
        with pytest.raises(StemwiseError, match=message) as caught:
            load_report(given)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_reports_are_found_below_folders_once(tmp_path):
    folders = [tmp_path / "run" / "report" / split for split in ("test-x", "valid-x")]
    for k, folder in enumerate(folders):
        write_report(made_report(seed=k), Exhibits(), folder)
    found = find_reports([tmp_path / "run", folders[0], folders[1] / "report.json"])
    assert [report["model"]["seed"] for report in found] == [0, 1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(StemwiseError, match="no report can be read"):
        find_reports([tmp_path / "empty"])
