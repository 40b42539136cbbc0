"""Which protocol makes the MES-Pseudo of a report."""

from collections.abc import Callable, Mapping, Sequence

from stemwise.corpora.bank import Bank
from stemwise.corpora.slakh import cross_songs, pseudo_pieces
from stemwise.errors import CorpusError, UsageError
from stemwise.protocols import Pseudo10x5, PseudoListed

__all__ = ["PROTOCOLS", "choose_protocol"]

LISTS: Mapping[str, Callable[[], Mapping[str, Sequence[str]]]] = {  # itself is a background
    "slakh-50": lambda: pseudo_pieces(50),
    "slakh-40": lambda: pseudo_pieces(40),
    "slakh-10x10": lambda: dict.fromkeys(cross_songs(), cross_songs()),
}
PROTOCOLS = (*LISTS, Pseudo10x5.name)
CROSS_SEGMENTS = 10


def choose_protocol(
    bank: Bank, split: str, name: str | None = None, groups: int | None = None
) -> Pseudo10x5 | PseudoListed:
    """Return the protocol of MES-Pseudo by its name, or the default for the split of a bank.

    Args:
        bank: what is to be scored on.
        split: "valid" or "test".
        name: one of ``PROTOCOLS``; by default slakh-50 if the split holds all of its songs, else
            pseudo-10x5.
        groups: of pseudo-10x5.

    Raises:
        CorpusError: the split lacks songs of the list.
        UsageError: unknown name, or groups for a protocol without.
    """
    if name not in (None, *PROTOCOLS):
        raise UsageError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    here = {piece.identifier: p for p, piece in enumerate(bank.pieces) if piece.split == split}
    listed = LISTS[name or "slakh-50"]() if name != Pseudo10x5.name else {}
    wanted = {song for others in listed.values() for song in others}
    missing = sorted(wanted - here.keys())
    if not listed or (missing and name is None):
        return Pseudo10x5(groups)
    if missing:
        raise CorpusError(
            f"{len(missing)} of the {len(wanted)} songs of {name} are not in the {split} split of "
            f"{bank.directory} (the first: {missing[0]}); it is for Slakh2100's test split, for "
            f"others use --protocol {Pseudo10x5.name}"
        )
    name = name or "slakh-50"
    if groups is not None:
        raise UsageError(f"{name} has no groups; they go with --protocol {Pseudo10x5.name}")
    backgrounds = {here[t]: [here[other] for other in others] for t, others in listed.items()}
    return PseudoListed(name, backgrounds, CROSS_SEGMENTS if name == "slakh-10x10" else None)
