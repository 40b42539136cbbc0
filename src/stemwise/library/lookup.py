"""Looking pieces up by words: what a search box does.

A piece fits if every word of the text occurs in its title, artist or album, in any order. Case and
accents do not count: "beyonce" finds "Beyoncé". Order of what fits: the words are the whole title;
the title begins with them; each begins a word of the title; each begins a word of title, artist or
album; the rest. Equal ones come by artist, album and title.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from stemwise.library.tables import Piece

__all__ = ["Lookup", "plain"]


def plain(text: str) -> str:
    """Return `text` in small letters, without accents, its words one space apart."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(sign for sign in apart if not unicodedata.combining(sign)).split())


@dataclass(frozen=True)
class Lookup:
    """Pieces, prepared to be looked up."""

    pieces: Sequence[Piece]

    @cached_property
    def in_order(self) -> list[int]:
        """The numbers of all pieces, by artist, album and title."""
        keys = [
            (plain(piece.artist), plain(piece.album), plain(piece.title), piece.content)
            for piece in self.pieces
        ]
        return sorted(range(len(keys)), key=keys.__getitem__)

    def find(self, text: str) -> list[int]:
        """Return the numbers of the pieces that fit `text`, best first; all if it has no words."""
        wanted = plain(text)
        words = wanted.split()
        if not words:
            return self.in_order
        fitting = []
        for place, k in enumerate(self.in_order):
            title, whole = self._texts[place]
            if all(word in whole for word in words):
                fitting.append((_rank(wanted, words, title, whole), place, k))
        return [k for _, _, k in sorted(fitting)]

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """Title and whole text of each piece in order, plain, each word after a space."""
        found = []
        for k in self.in_order:
            piece = self.pieces[k]
            title = f" {plain(piece.title)}"
            found.append((title, f"{title} {plain(piece.artist)} {plain(piece.album)}"))
        return found


def _rank(wanted: str, words: Sequence[str], title: str, whole: str) -> int:
    if title == f" {wanted}":
        return 0
    if title.startswith(f" {wanted}"):
        return 1
    if all(f" {word}" in title for word in words):
        return 2
    return 3 if all(f" {word}" in whole for word in words) else 4
