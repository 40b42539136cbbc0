"""The documents name what there is, and nothing that is not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from stemwise.cli import app
from stemwise.reports.table import table_rows

ROOT = Path(__file__).parents[1]
GROUP = typer.main.get_command(app)


def commands(group, prefix=""):
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(GROUP)), ids=lambda v: str(v))
def test_every_command_and_option_is_documented(name, command):
    page = (ROOT / "docs" / "cli.md").read_text()
    assert f"`stemwise {name}`" in page
    assert command.help, f"{name} says nothing of itself"
    for option in command.params:
        for flag in option.opts:
            if flag.startswith("--"):
                assert flag in page, f"docs/cli.md does not name {flag} of {name}; run: make docs"


def test_cli_page_is_up_to_date(tmp_path):
    made = tmp_path / "cli.md"
    command = ["typer", "stemwise.cli", "utils", "docs", "--name", "stemwise", "--output", made]
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True,
                   capture_output=True)  # fmt: skip
    assert made.read_text() == (ROOT / "docs" / "cli.md").read_text(), "run: make docs"


def test_scores_are_those_of_the_shipped_models():
    pages = ("README.md", "docs/model-card.md")
    cog = Path(sys.executable).parent / "cog"
    command = [cog, "--check", "--diff", "-P", "-I", "scripts", *pages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run: make docs\n{done.stdout}{done.stderr}"
    for page in pages:
        assert "doc_tables.scores(" in (ROOT / page).read_text()


@pytest.mark.parametrize("model", ["compact", "stemwise"])
def test_results_have_the_shipped_models_as_they_are(model):
    report = json.loads((ROOT / "benchmarks/open/results" / f"{model}.json").read_text())
    page = (ROOT / "docs" / "results.md").read_text()
    wanted = table_rows([report])
    assert len(wanted) == 4  # MES-Normal, MES-Pseudo, leakage, SDR
    for scored in wanted:
        _, _, section = page.partition(f"\n## {scored['table']}")
        row = re.search(rf"^.*shipped as `{model}`\*\*.*$", section, re.MULTILINE).group()
        scale = 100 if scored["unit"] == "share" else 1
        cells = " | ".join(f"{scale * cell['value']:.1f}" for cell in scored["cells"].values())
        assert f"| {cells} |" in row, f"{scored['table']} of {model} is {cells}"


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name != "cli.md")],
    ids=lambda path: path.name,
)
def test_documents_name_only_commands_that_exist(path):
    known = {name for name, _ in commands(GROUP)}
    groups = {name.split()[0] for name in known if " " in name}
    for line in re.findall(r"^(?:\$ )?stemwise ([a-z].*)$", path.read_text(), re.MULTILINE):
        words = line.split()
        name = " ".join(words[:2]) if words[0] in groups else words[0]
        assert name in known, f"{path.name} names the unknown command: stemwise {line}"


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), f"README.md links to {target}, which is not there"
