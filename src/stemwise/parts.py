"""The five instrument parts, their order, and the block of the embedding that each one owns.

Conventions: axis I (instrument part) always follows ``PARTS``; an embedding is I blocks of
``BLOCK_DIMENSIONS`` numbers, either as (..., 5, 128) or concatenated as (..., 640).

Reference: section II-B of the paper (each part owns a subspace; drums are the first 128 numbers).
"""

from collections.abc import Mapping

from stemwise.errors import UsageError

__all__ = ["BLOCK_DIMENSIONS", "PARTS", "block", "index", "parse_weights", "program_part"]

PARTS = ("drums", "bass", "piano", "guitar", "residuals")
BLOCK_DIMENSIONS = 128


def index(part: str) -> int:
    """Return the position of `part` in ``PARTS``; an unknown name is a `UsageError`."""
    if part not in PARTS:
        raise UsageError(f"unknown part {part!r}; choose from {', '.join(PARTS)}")
    return PARTS.index(part)


def block(part: str) -> slice:
    """Return the slice of the 640 numbers that belongs to `part`: [128 i, 128 (i + 1))."""
    i = index(part)
    return slice(BLOCK_DIMENSIONS * i, BLOCK_DIMENSIONS * (i + 1))


def program_part(program: int, *, is_drum: bool) -> str:
    """Return the part that plays a General MIDI `program` (0..127), grouped as in Slakh.

    Piano 0-7, guitar 24-31, bass 32-39, drums by channel, all else residuals.
    """
    if is_drum:
        return "drums"
    if not 0 <= program <= 127:
        raise ValueError(f"a General MIDI program is 0..127, got {program}")
    if program <= 7:
        return "piano"
    if 24 <= program <= 31:
        return "guitar"
    if 32 <= program <= 39:
        return "bass"
    return "residuals"


def parse_weights(text: str) -> Mapping[str, float]:
    """Parse ``drums=1,bass=0.5`` (a bare ``drums`` weighs 1) into weights per part, in part order.

    Raises `UsageError` for unknown parts, a part named twice, a weight that is not a finite number
    of at least 0, or no weight above 0.
    """
    weights: dict[str, float] = {}
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, value = item.partition("=")
        name = name.strip()
        index(name)
        if name in weights:
            raise UsageError(f"part {name!r} is named twice in {text!r}; name each part once")
        try:
            weight = float(value) if value else 1.0
        except ValueError:
            raise UsageError(f"weight {value!r} of {name} is not a number; try {name}=1") from None
        if not 0 <= weight < float("inf"):
            raise UsageError(f"weight {value} of {name} must be a finite number, 0 or more")
        weights[name] = weight
    if not any(weights.values()):
        raise UsageError(f"no part has a weight above 0 in {text!r}; try drums=1,bass=0.5")
    return {part: weights[part] for part in PARTS if part in weights}
