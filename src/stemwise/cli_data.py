"""The `stemwise data` commands; see `stemwise.cli`."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemwise import console
from stemwise.errors import EXIT_SOME_FAILED, UsageError, extra

if TYPE_CHECKING:
    from stemwise.corpora.making import Found

__all__ = ["data_app"]

data_app = typer.Typer(no_args_is_help=True, help="Make and check corpora.")

Jobs = Annotated[int | None, typer.Option(min=1, help="Files at a time; default: the CPU cores.")]
BankRate = Annotated[int, typer.Option("--rate", min=1, help="Rate of the bank in Hz.")]


@data_app.command("band")
def data_band(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run goes on.")],
    train: Annotated[int, typer.Option(help="Songs to train on.")] = 400,
    valid: Annotated[int, typer.Option(help="Songs to validate on.")] = 60,
    test: Annotated[int, typer.Option(help="Songs to test on.")] = 136,
    renderings: Annotated[int, typer.Option(help="Takes of each training song.")] = 1,
    composed_share: Annotated[
        float | None, typer.Option(help="Share of composed songs, 0..1; default: fill up only.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the longest piece, 6..3600.")] = 90.0,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes, 1 GB of memory each; default: the CPU cores.")
    ] = None,
    midi: Annotated[
        Path | None, typer.Option(help="A further MIDI collection: folder or zip with index.csv.")
    ] = None,
    soundfonts: Annotated[
        str | None, typer.Option(help="Soundfonts to draw from, NAME,NAME; default: all known.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Render a corpus of stems from MIDI and composed songs; run it again to go on."""
    with extra("render"):
        from stemwise.corpora.band import BandSettings, make_band
    names = tuple(soundfonts.split(",")) if soundfonts else None
    settings = BandSettings(
        train, valid, test, renderings, composed_share, seconds, seed, midi, names
    )
    with console.progress("pieces rendered") as progress:
        report = make_band(
            out,
            settings,
            jobs=jobs or os.cpu_count() or 1,
            report=lambda r: progress(r.done + r.failed, r.total),
        )
    print(json.dumps({"corpus": str(out)} | dataclasses.asdict(report)) if as_json else report)
    if report.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@data_app.command("slakh")
def data_slakh(
    slakh: Annotated[Path, typer.Argument(help="Slakh2100 as published: train, validation, test.")],
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run goes on.")],
    rate: BankRate = 44100,
    partial: Annotated[bool, typer.Option(help="Leave out the tracks with a problem.")] = False,
    checksums: Annotated[bool, typer.Option(help="Compare every stem with its MD5.")] = False,
    archive: Annotated[Path | None, typer.Option(help="Compare the archive's MD5 first.")] = None,
    jobs: Jobs = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check Slakh2100 and make it a corpus by the paper's protocol; run it again to go on."""
    with extra("train"):
        from stemwise.corpora.slakh import check_archive, load_slakh
    if archive:
        check_archive(archive)
    with console.progress("tracks checked") as progress:
        found = load_slakh(slakh, checksums=checksums, jobs=jobs, progress=progress)
    _make_corpus(out, found, rate, partial, jobs, as_json)


@data_app.command("folder")
def data_folder(
    folder: Annotated[Path, typer.Argument(help="[train|valid|test/]SONG/NAME.wav, as MUSDB18.")],
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run goes on.")],
    names: Annotated[
        list[str] | None, typer.Option("--map", help="NAME=PART,…; NAME= leaves files out.")
    ] = None,
    valid_share: Annotated[float, typer.Option(help="Of the songs, if none is set aside.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="Of the songs, if none is set aside.")] = 0.1,
    rate: BankRate = 44100,
    licence: Annotated[str, typer.Option(help="Licence of the music.")] = "not stated",
    jobs: Jobs = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a folder of songs with stems a corpus; run it again to go on."""
    from stemwise.corpora.folder import load_folder, parse_map

    found = load_folder(
        folder, parse_map(names or []), valid_share=valid_share, test_share=test_share,
        licence=licence,
    )  # fmt: skip
    _make_corpus(out, found, rate, True, jobs, as_json)


@data_app.command("songbook")
def data_songbook(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run goes on.")],
    train: Annotated[int, typer.Option(min=0, help="Songs to train on.")] = 80,
    valid: Annotated[int, typer.Option(min=0, help="Songs to validate on.")] = 0,
    test: Annotated[int, typer.Option(min=0, help="Songs to test on.")] = 0,
    seconds: Annotated[float, typer.Option(min=6, max=3600, help="Length of a song.")] = 80.0,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    voices: Annotated[
        Path | None,
        typer.Option(help="Folder with a folder of recorded syllables or words for each person."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of these recordings.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; default: the CPU cores.")] = None,
) -> None:
    """Let a computer sing songs, residuals without a band; run it again to go on."""
    with extra("render"):
        from stemwise.corpora.singing import Person, people_in
        from stemwise.corpora.songbook import SongbookSettings, make_songbook
    settings = SongbookSettings(train, valid, test, seconds, seed)
    people: list[Person] = []
    problems: list[str] = []
    if voices is None and licence is not None:
        raise UsageError("--licence is of people's recordings, and there are none: give --voices")
    if voices is not None:
        if licence is None:
            raise UsageError("people's recordings need their licence told: --licence")
        people, problems = people_in(voices)
        settings = dataclasses.replace(settings, voices=str(voices.absolute()), licence=licence)
    for problem in problems:
        console.remark(problem)
    with console.progress("songs sung") as progress:
        pieces = make_songbook(
            out, settings, people, jobs=jobs or os.cpu_count() or 1, progress=progress
        )
    print(f"{out}: {len(pieces)} songs of {seconds:g} s")
    if problems:
        print(f"recordings left out: {len(problems)}")
        raise typer.Exit(EXIT_SOME_FAILED)


@data_app.command("join")
def data_join(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run goes on.")],
    corpora: Annotated[list[Path], typer.Argument(help="Corpora to join, as they are.")],
    rate: BankRate = 22050,
    partial: Annotated[bool, typer.Option(help="Leave out the pieces with a problem.")] = False,
    jobs: Jobs = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make several corpora one, each piece in its split; the stems stay where they are."""
    from stemwise.corpora.making import join

    _make_corpus(out, join(corpora), rate, partial, jobs, as_json)


def _make_corpus(
    out: Path, found: "Found", rate: int, partial: bool, jobs: int | None, as_json: bool
) -> None:
    from stemwise.corpora.making import make_corpus

    with console.progress("pieces prepared") as progress:
        report = make_corpus(
            out, found, rate, partial=partial, jobs=jobs, announce=console.remark, progress=progress
        )
    print(json.dumps(dataclasses.asdict(report)) if as_json else report)
    if report.problems:
        raise typer.Exit(EXIT_SOME_FAILED)


@data_app.command("check")
def data_check(
    corpus: Annotated[Path, typer.Argument(help="A corpus, as `stemwise data` makes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a corpus: manifest, splits by song, stem files and their headers; exit 1 if bad."""
    from stemwise.corpora.piece import (
        check_audio,
        check_pieces,
        read_manifest,
        summary,
        summary_lines,
    )

    pieces = read_manifest(corpus)
    problems = check_pieces(pieces) + check_audio(pieces)
    totals = summary(pieces)
    if as_json:
        print(json.dumps({"corpus": str(corpus), "splits": totals, "problems": problems}))
    else:
        print("\n".join([*summary_lines(totals), *(problems or ["no problems"])]))
    if problems:
        raise typer.Exit(1)
