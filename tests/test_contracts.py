"""What style and design promise about the code itself, read from the code."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stemwise"
MODULES = sorted(SOURCE.rglob("*.py"))
NAMES = {
    path: ".".join(("stemwise", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in MODULES
}

# Who may import whom: a module may import its own layer and the layers listed for it.
ARROWS = {
    "errors": set(),
    "clock": {"errors"},
    "parts": {"errors"},
    "decoding": {"errors"},
    "audio": {"decoding", "errors", "parts"},
    "spectrogram": {"errors", "parts"},
    "models": {"errors", "parts", "audio", "spectrogram"},
    "losses": {"errors", "parts"},
    "sampling": {"errors", "parts"},
    "scores": {"errors", "parts"},
    "protocols": {"errors", "parts", "sampling"},
    "stage_settings": set(),
    "recipe": {"errors", "parts", "models", "stage_settings"},
    "corpora": {"errors", "parts", "audio", "sampling"},
    "memory": set(),
    "principal": set(),
    "layout": {"principal"},
    "library": {"clock", "errors", "parts", "audio", "decoding", "memory", "models", "layout"},
    "web": {"errors", "parts", "decoding", "library", "models", "layout", "principal"},
    "scale": {"errors", "parts", "audio", "models", "library"},
    "evaluation": {
        "errors", "parts", "sampling", "protocols", "scores", "corpora", "models",
        "spectrogram",
    },
    "reports": {"errors", "parts", "evaluation", "layout"},
    "training": {
        "errors", "parts", "sampling", "scores", "corpora", "memory", "models", "losses",
        "recipe", "evaluation", "spectrogram", "protocols",
    },
}  # fmt: skip
TOP = {  # may import everything
    "", "cli", "cli_catalogue", "cli_cluster", "cli_data", "cli_research", "cli_search", "cli_web",
    "console", "console_search",
}  # fmt: skip
CORE = ("models/", "losses", "sampling/", "protocols", "training", "scores/", "spectrogram")


def layer(module):
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def imports(path):
    """Yield (imported module, imported names) for all imports of stemwise in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "stemwise":
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "stemwise":
                    yield alias.name, []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: NAMES[p])
def test_import_arrows_go_one_way(path):
    own = layer(NAMES[path])
    if own in TOP:
        return
    for module, names in imports(path):
        targets = [f"stemwise.{n}" for n in names] if module == "stemwise" else [module]
        for target in targets:
            there = layer(target)
            if there.startswith("__"):  # __version__
                continue
            assert there == own or there in ARROWS[own], f"{NAMES[path]} must not import {target}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: NAMES[p])
def test_only_public_names_cross_modules(path):
    for module, names in imports(path):
        if module == "stemwise":
            continue
        public = importlib.import_module(module).__all__
        assert set(names) <= set(public), f"{NAMES[path]} takes private names from {module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: NAMES[p])
def test_public_names_are_real_and_documented(path):
    module = importlib.import_module(NAMES[path])
    assert module.__doc__, f"{NAMES[path]} says nothing of itself"
    for name in getattr(module, "__all__", []):
        thing = getattr(module, name)
        if callable(thing) and getattr(thing, "__module__", "").startswith("stemwise"):
            assert thing.__doc__, f"{NAMES[path]}.{name} has no docstring"


def body_lines(function):
    body = function.body[1:] if ast.get_docstring(function) and function.body[1:] else function.body
    return function.end_lineno - body[0].lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda p: NAMES[p])
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    name = str(path.relative_to(SOURCE))
    limit = 250 if name.startswith(CORE) else 400
    assert text.count("\n") <= limit, f"{name} has over {limit} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert body_lines(node) < 60, f"{name}: {node.name} is too long"


def test_no_drawers():
    banned = {"utils", "helpers", "common", "misc", "manager", "base"}
    assert not [p for p in MODULES if p.stem in banned]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: NAMES[p])
def test_only_the_command_line_imports_inside_functions(path):
    if path.name in (
        "cli.py",
        "cli_catalogue.py",
        "cli_cluster.py",
        "cli_data.py",
        "cli_research.py",
        "cli_search.py",
        "cli_web.py",
    ):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            late = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not late, f"{NAMES[path]}.{node.name} imports inside"


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_starts_without_the_heavy_libraries():
    heavy = {"torch", "numpy", "lancedb", "lightning", "sklearn", "matplotlib", "av"}
    assert not heavy & loaded_by("import stemwise.cli")


def test_search_and_serving_never_load_the_trainer():
    training = {"lightning", "sklearn", "pedalboard", "fluidsynth", "pretty_midi", "matplotlib"}
    loaded = loaded_by("import stemwise.library.search, stemwise.models.checkpoint")
    assert not training & loaded


def test_what_a_cluster_needs_is_loaded_for_a_cluster_only():
    scale = {"ray", "lance", "lance_ray", "stemwise.scale"}
    everything = "stemwise.cli, stemwise.library.catalogue, stemwise.training.runs"
    assert not scale & loaded_by(f"import {everything}")
