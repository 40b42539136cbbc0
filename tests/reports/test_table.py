import json
import re

import numpy as np
import pytest

from made_reports import made_report
from stemwise.errors import UsageError
from stemwise.parts import PARTS
from stemwise.reports.paper import PAPER
from stemwise.reports.table import table_lines, table_rows

SHIFTS = (0.0, 0.013, -0.004)


def named(name, shift=0.0, method="cascade", **model):
    model = {
        "recipe": name,
        "fingerprint": f"print of {name}",
        "takes_stems": method == "clean",
    } | model
    return made_report(shift, name=name, method=method, **model)


def baseline(name, shift=0.0, takes_stems=False):
    report = named(name, shift, "baseline", takes_stems=takes_stems, recipe=None, seed=None,
                   commit=None, fingerprint=None, core_minutes=None, parameters=0)  # fmt: skip
    del report["sdr"]
    return report


def seeds():
    return [
        named("run", shift, seed=k, fingerprint=f"print {k}", commit=f"c{k}", core_minutes=90.0 + k)
        for k, shift in enumerate(SHIFTS)
    ]


def tables_of(lines):
    """Return {heading: {caption: rows of cells}}."""
    found, heading, caption = {}, None, None
    for line in lines:
        if line.startswith("## "):
            heading, found[line[3:]] = line[3:], {}
        elif line.startswith("### "):
            caption = line[4:]
            found[heading][caption] = []
        elif line.startswith("| "):
            found[heading][caption].append([c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def only_group(reports, **options):
    (tables,) = tables_of(table_lines(reports, **options)).values()
    return tables


def test_seeds_of_a_recipe_are_one_row_of_mean_and_deviation():
    reports = seeds()
    rows = {row["table"]: row for row in table_rows(reports)}
    assert list(rows) == ["MES-Normal", "MES-Pseudo", "Leakage", "SDR"]
    for name, key, score in (("MES-Normal", "normal", "accuracy"), ("SDR", "sdr", "sdr_db")):
        for part in PARTS:
            values = [report[key][part][score] for report in reports]
            cell = rows[name]["cells"][part]
            assert cell["value"] == pytest.approx(np.mean(values))
            assert cell["deviation"] == pytest.approx(np.std(values, ddof=1))
            assert cell["interval"] is None
            assert cell["runs"] == 3
    assert rows["SDR"]["seeds"] == [0, 1, 2]
    assert rows["SDR"]["commits"] == ["c0", "c1", "c2"]
    assert rows["SDR"]["core_minutes"] == pytest.approx(91)
    assert rows["SDR"]["unit"] == "dB"
    values = 100 * (0.921 + np.array(SHIFTS))
    header, row = only_group(reports)["MES-Normal, %"]
    assert header == ["method", "seeds", *PARTS, "core-min", "parameters"]
    assert row[:3] == ["run", "3", f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"]
    assert row[-2:] == ["91", "3,145,728"]
    lines = table_lines(reports)
    assert any("seeds 0, 1, 2; trained at commits c0, c1, c2" in line for line in lines)


def test_a_single_run_shows_its_interval():
    tables = only_group([named("run")])
    assert tables["MES-Normal, %"][1][:3] == ["run", "1", "92.1 (90.0 to 94.4)"]
    assert tables["Leakage, % (less is better)"][1][2] == "12.0 (9.0 to 15.0)"
    assert tables["SDR, dB"][1][2] == "5.43 (5.12 to 5.75)"


def test_a_seed_without_a_value_is_told():
    reports = seeds()
    reports[1]["normal"]["bass"]["accuracy"] = None
    reports[2]["normal"]["bass"]["accuracy"] = None
    reports[2]["normal"]["drums"]["accuracy"] = None
    row = only_group(reports)["MES-Normal, %"][1]
    assert row[3] == "87.1, 1 of 3 runs"
    assert row[2].endswith("± 0.9, 2 of 3 runs")


@pytest.mark.parametrize(
    "change",
    [{"recipe": "other"}, {"parameters": 7}, {"sample_rate_hz": 44100}, {"method": "direct"},
     {"seed": 0}, {"seed": None}],
)  # fmt: skip
def test_runs_that_differ_in_more_than_the_seed_are_not_pooled(change):
    reports = seeds()[:2]
    reports[1]["model"] |= change
    rows = [row for row in table_rows(reports) if row["table"] == "MES-Normal"]
    assert [row["runs"] for row in rows] == [1, 1]
    assert len({row["method"] for row in rows}) == 2  # one name would not tell them apart


@pytest.mark.parametrize(
    "change",
    [{"corpus": {"name": "band", "digest": "f" * 16}}, {"split": "valid"},
     {"protocol": "slakh-50"}, {"groups": 3}, {"groups": None}, {"segment_seconds": 5.0}],
)  # fmt: skip
def test_other_data_never_shares_a_table(change):
    reports = seeds()
    reports[1] |= change
    groups = tables_of(table_lines(reports))
    assert len(groups) == 2
    first, second = groups.values()
    assert [row[1] for row in first["MES-Normal, %"][1:]] == ["2"]
    assert [row[1] for row in second["MES-Normal, %"][1:]] == ["1"]
    assert "band (0123456789abcdef), test split, pseudo-10x5, 9 groups" in next(iter(groups))


def test_a_corpus_without_a_digest_is_like_no_other():
    reports = seeds()
    for report in reports:
        report["corpus"]["digest"] = None
    assert len({json.dumps(row["fingerprints"]) for row in table_rows(reports)}) == 3
    assert all(row["runs"] == 1 for row in table_rows(reports))
    assert table_lines(reports).count("### MES-Normal, %") == 3


def test_one_corpus_may_have_two_names():
    reports = seeds()
    reports[1]["corpus"]["name"] = "moved"
    assert len(tables_of(table_lines(reports))) == 1


def test_rows_stand_by_method_and_name():
    given = [
        named("z", method="direct-reconst"), named("b", method="cascade"), named("n", method="new"),
        named("a", method="cascade"), named("d", method="direct"), baseline("mfcc"),
        named("c", method="clean"),
    ]  # fmt: skip
    rows = only_group(given)["MES-Pseudo, %"][1:]
    assert [row[0] for row in rows] == [
        "mfcc", "c (hears the stems)", "a", "b", "d", "z", "n",
    ]  # fmt: skip


def test_bold_is_the_best_that_hears_the_mixture():
    reports = [
        named("clean", 0.05, "clean"), named("a", 0.01), named("b", 0.02),
        baseline("stem-mel", 0.04, takes_stems=True), baseline("mfcc", 0.03),
    ]  # fmt: skip
    reports[1]["pseudo"]["bass"]["leakage"] = 0.01
    reports[2]["normal"]["drums"]["accuracy"] = 0.2
    tables = only_group(reports)

    def bold(caption, part):
        column = 2 + PARTS.index(part)
        return [row[0] for row in tables[caption][1:] if row[column].startswith("**")]

    assert bold("MES-Normal, %", "bass") == ["b"]
    assert bold("MES-Normal, %", "drums") == ["a"]
    assert bold("Leakage, % (less is better)", "bass") == ["a"]
    assert bold("Leakage, % (less is better)", "piano") == ["a", "b"]  # alike
    assert bold("SDR, dB", "bass") == ["b"]
    names = [row[0] for row in tables["MES-Normal, %"][1:]]
    assert names[1:3] == ["stem-mel (hears the stems)", "clean (hears the stems)"]


def test_a_report_that_does_not_say_hears_the_stems_if_it_is_clean():
    reports = [named("c", method="clean"), named("a")]
    for report in reports:
        del report["model"]["takes_stems"]
    names = [row[0] for row in only_group(reports)["MES-Normal, %"][1:]]
    assert names == ["c (hears the stems)", "a"]


def test_nothing_is_bold_without_a_rival():
    assert "**" not in "\n".join(table_lines([named("a"), named("c", 0.1, "clean")]))


def test_what_does_not_separate_is_not_in_the_table_of_sdr():
    tables = only_group([named("a"), baseline("mfcc")])
    assert [row[0] for row in tables["SDR, dB"][1:]] == ["a"]
    assert only_group([baseline("mfcc")]).keys() == {
        "MES-Normal, %", "MES-Pseudo, %", "Leakage, % (less is better)",
    }  # fmt: skip
    baseline_row = tables["MES-Normal, %"][1]
    assert (baseline_row[1], baseline_row[-2:]) == ("–", ["–", "0"])


def test_a_protocol_without_leakage_has_no_table_of_it():
    report = made_report(parts=("drums", "bass"))
    for score in report["pseudo"].values():
        score["leakage"] = None
    report["normal"]["bass"]["accuracy"] = None
    tables = only_group([report])
    assert "Leakage, % (less is better)" not in tables
    assert tables["MES-Normal, %"][0][2:-2] == ["drums", "bass"]
    assert tables["MES-Normal, %"][1][3] == "–"


def test_chance_and_unequal_rates_are_told():
    lines = table_lines([named("a"), named("b", sample_rate_hz=44100)])
    assert "Chance: 0.7." in lines
    assert any("a 22050 Hz, b 44100 Hz" in line for line in lines)
    report = named("a")
    report["pseudo"]["bass"]["chance"] = 0.2
    assert any("drums 10.0, bass 20.0" in line for line in table_lines([report]))


def test_one_model_twice_on_the_same_data_is_refused():
    with pytest.raises(UsageError, match="two reports are of the model run on the same data"):
        table_lines([seeds()[0], seeds()[0]])
    with pytest.raises(UsageError, match="mfcc"):
        table_rows([baseline("mfcc"), baseline("mfcc")])
    other = seeds()[0] | {"split": "valid"}
    assert len(tables_of(table_lines([seeds()[0], other]))) == 2


def test_names_cannot_break_the_table():
    report = named("<script>|x\ny", recipe=None)
    tables = only_group([report])
    assert {len(row) for table in tables.values() for row in table} == {9}
    assert tables["MES-Normal, %"][1][0] == r"\<script\>\|x y"


def test_the_papers_figures_stand_apart_as_printed():
    reports = [named("a")]
    groups = tables_of(table_lines(reports, paper=True))
    heading = list(groups)[-1]
    assert heading == (
        "The paper's own figures, on Slakh2100: other data, not to be compared cell by cell"
    )
    ours, papers = groups.values()
    assert ours == only_group(reports)
    rows = papers["MES-Normal, %, of the paper"]
    assert rows[0] == ["method", *PARTS]
    assert rows[1] == ["Clean, from H22 (hears the stems)", "98.04", "94.60", "98.14", "96.35", "–"]
    assert ["Direct, from H24", "85.5", "37.1", "–", "44.7", "74.7"] in papers[
        "MES-Pseudo, %, of the paper"
    ]
    assert not [row for row in papers["MES-Pseudo, %, of the paper"] if "Clean" in row[0]]
    assert len(papers["SDR, dB, of the paper"]) == 3
    assert "MES-Pseudo of Clean is not reported." in table_lines(reports, paper=True)[-1]
    assert heading not in "\n".join(table_lines(reports))


def test_the_papers_table_holds_what_its_text_says():
    assert all(float(cell) > 90 for cell in PAPER["MES-Pseudo"]["Cascade-FT"] if cell)
    for part, best in zip(PARTS, PAPER["MES-Normal"]["Cascade-FT"], strict=True):
        other = PAPER["MES-Normal"]["Cascade with Spleeter, from H22"][PARTS.index(part)]
        assert best is None or other is None or float(best) > float(other)
    assert {len(cells) for rows in PAPER.values() for cells in rows.values()} == {5}


def test_the_rows_are_json_and_say_their_unit():
    rows = table_rows([*seeds(), baseline("mfcc")], paper=True)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    papers = [row for row in rows if row["data"] == "the paper, Slakh2100"]
    assert len(papers) == sum(len(table) for table in PAPER.values())
    assert {row["unit"] for row in papers} == {"percent", "dB"}
    assert papers[0]["cells"]["drums"]["value"] == 98.04
    assert papers[0]["cells"]["residuals"]["value"] is None
    assert {row["unit"] for row in rows if row not in papers} == {"share", "dB"}
    assert rows[0]["data"]["digest"] == "0123456789abcdef"


def test_no_report_makes_no_table():
    assert table_rows([]) == []
    assert tables_of(table_lines([])) == {}
