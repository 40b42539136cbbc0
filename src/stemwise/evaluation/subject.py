"""What is scored, and how it hears the mixtures of a plan."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from stemwise.corpora.bank import Bank
from stemwise.errors import UsageError
from stemwise.models.cascade import Clean
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS
from stemwise.sampling import Plan

__all__ = [
    "Bar", "Progress", "Subject", "block_of_plan", "choose_device", "describe_plan", "heard",
    "no_progress", "subject_of",
]  # fmt: skip

BATCH = 16
Progress = Callable[[int, int], None]
Bar = Callable[[str], AbstractContextManager[Progress]]


def no_progress(done: int, total: int) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        describe: (B, N) to embedding (B, 5, 128) and presence (B, 5).
        takes_stems: `describe` wants the stems (B, 5, N) in place of their sum (Clean).
        parts: those that it was made for; the others are not scored.
        device: where `describe` and `separate` run.
        separate: (B, N) to the parts (B, 5, N); None for what does not separate.
        tells_presence: what `describe` says of presence means something.
        embed_part: the embedding again, of which one part's block alone is needed; None where that
            saves nothing.
    """

    describe: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    takes_stems: bool = False
    parts: tuple[str, ...] = PARTS
    device: str = "cpu"
    separate: Callable[[torch.Tensor], torch.Tensor] | None = None
    tells_presence: bool = True
    embed_part: Callable[[torch.Tensor, str], torch.Tensor] | None = None


def choose_device(name: str) -> str:
    """Return "cpu" or "cuda"; "auto" is the GPU if there is one.

    Raises:
        UsageError: no such device.
    """
    here = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    if name != "auto" and name not in here:
        raise UsageError(f"no device {name!r}; choose from auto, {', '.join(here)}")
    return here[-1] if name == "auto" else name


def subject_of(model: Model, device: str = "auto") -> Subject:
    """Return what `evaluate` scores of a model, which is moved to `device`.

    Args:
        model: a loaded checkpoint of any method.
        device: "cpu", "cuda", or "auto" for the GPU if there is one.

    Raises:
        UsageError: no such device.
    """
    device = choose_device(device)
    model.to(device)
    network = model.network
    return Subject(
        model.describe,
        model.takes_stems,
        model.parts,
        device,
        separate=model.separate if model.separates else None,
        embed_part=network.embed if isinstance(network, Clean) else None,
    )


def heard(
    bank: Bank, plan: Plan, device: str, progress: Progress = no_progress
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the stems (B, I, N) of a plan with V = 1 on `device`, and which rows they are."""
    for first in range(0, len(plan.pieces), BATCH):
        rows = slice(first, first + BATCH)
        part = Plan(plan.pieces[rows], plan.starts[rows], plan.gains_db[rows], plan.length_samples)
        yield rows, torch.from_numpy(bank.gather(part)[:, 0]).to(device)
        progress(min(rows.stop, len(plan.pieces)), len(plan.pieces))


def describe_plan(
    bank: Bank, plan: Plan, subject: Subject, progress: Progress = no_progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings (B, 5, 128) and presence (B, 5) of the mixtures of a plan with V = 1."""
    embeddings, presences = [], []
    for _, stems in heard(bank, plan, subject.device, progress):
        with torch.inference_mode():
            embedding, presence = subject.describe(
                stems if subject.takes_stems else stems.sum(dim=1)
            )
        embeddings.append(embedding.float().cpu())
        presences.append(presence.float().cpu())
    return torch.cat(embeddings), torch.cat(presences)


def block_of_plan(bank: Bank, plan: Plan, subject: Subject, part: str) -> torch.Tensor:
    """Return one part's block (B, 128) of the mixtures of a plan with V = 1."""
    i = PARTS.index(part)
    if subject.embed_part is None:
        return describe_plan(bank, plan, subject)[0][:, i]
    blocks = []
    for _, stems in heard(bank, plan, subject.device):
        with torch.inference_mode():
            sound = stems if subject.takes_stems else stems.sum(dim=1)
            blocks.append(subject.embed_part(sound, part)[:, i].float().cpu())
    return torch.cat(blocks)
