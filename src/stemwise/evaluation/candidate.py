"""What is up for evaluation, by its name on the command line: a model, a run, or a baseline."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemwise.corpora.bank import Bank
from stemwise.errors import UsageError
from stemwise.evaluation.baselines import BASELINE_RATE_HZ, BASELINES, baseline, hears_stems
from stemwise.evaluation.subject import Subject, subject_of
from stemwise.models.checkpoint import Model, load_model, method_of
from stemwise.models.layers import parameter_counts

__all__ = ["Candidate", "find_candidate"]


@dataclass(frozen=True)
class Candidate:
    """Something to score.

    Attributes:
        about: what its report says of it.
        sample_rate_hz: of the bank that it wants.
        reports: folder for its reports.
        subject: makes of a bank what `evaluate` scores.
        trained_on: the corpus of its run; None for what is no run.
    """

    about: dict[str, Any]
    sample_rate_hz: int
    reports: Path
    subject: Callable[[Bank], Subject]
    trained_on: Path | None = None

    @property
    def corpus(self) -> Path:
        """The corpus of its run.

        Raises:
            UsageError: it is no run, or one that does not tell.
        """
        if self.trained_on is None:
            raise UsageError(f"{self.about['name']} does not tell a corpus; name one with --corpus")
        return self.trained_on


def find_candidate(name: str, device: str = "auto") -> Candidate:
    """Return the baseline, shipped model, model file or finished run of a name.

    Raises:
        ModelError: none of these.
    """
    if name in BASELINES:
        return Candidate(
            _about_baseline(name), BASELINE_RATE_HZ, Path("reports") / name,
            lambda bank: baseline(name, bank, device),
        )  # fmt: skip
    model = load_model(name)
    run = Path(name)
    is_run = run.is_dir()
    corpus = model.provenance.get("corpus")
    return Candidate(
        _about_model(model),
        model.sample_rate_hz,
        run / "report" if is_run else Path("reports") / model.name,
        lambda bank: subject_of(model, device),
        Path(corpus) if is_run and corpus else None,
    )


def _about_model(model: Model) -> dict[str, Any]:
    """Return who a model is, where it comes from and what it cost.

    "settings" is a hash of the recipe without its seed, by which runs that differ in nothing else
    are known. "core_minutes" is the processor time of all its stages; None if that of one is not
    known.
    """
    recipe = model.provenance.get("recipe") or {}
    costs = list((model.provenance.get("costs") or {}).values())
    known = [cost["core_minutes"] for cost in costs if cost]
    settings = json.dumps({k: v for k, v in recipe.items() if k != "seed"}, sort_keys=True)
    return {
        "name": model.name,
        "method": method_of(model.network),
        "takes_stems": model.takes_stems,
        "fingerprint": model.fingerprint,
        "sample_rate_hz": model.sample_rate_hz,
        "parameters": parameter_counts(model.network)["embedding"],
        "recipe": recipe.get("name"),
        "settings": hashlib.blake2b(settings.encode(), digest_size=8).hexdigest(),
        "summary": recipe.get("summary"),
        "seed": recipe.get("seed"),
        "commit": model.provenance.get("commit"),
        "core_minutes": sum(known) if costs and len(known) == len(costs) else None,
    }


def _about_baseline(name: str) -> dict[str, Any]:
    unknown = dict.fromkeys(
        ("fingerprint", "recipe", "settings", "summary", "seed", "commit", "core_minutes")
    )
    return unknown | {
        "name": name,
        "method": "baseline",
        "takes_stems": hears_stems(name),
        "sample_rate_hz": BASELINE_RATE_HZ,
        "parameters": 0,
    }
