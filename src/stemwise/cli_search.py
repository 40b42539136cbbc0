"""The commands that search, and what is made of what they find; see `stemwise.cli`.

Several examples, each in one word: PIECE@FROM-TO:PARTS, see `stemwise.library.query`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemwise import console, console_search
from stemwise.cli_catalogue import AsJson, CataloguePath, catalogue_path
from stemwise.cli_cluster import Address, EngineName, is_cluster
from stemwise.clock import read_clock
from stemwise.errors import UsageError, extra
from stemwise.parts import PARTS, parse_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stemwise.corpora.bank import Bank
    from stemwise.library.filters import Filter
    from stemwise.library.held_out import Mixture
    from stemwise.library.matches import SearchResult

__all__ = ["search_app"]

search_app = typer.Typer()

QueryText = Annotated[str, typer.Argument(metavar="FILE|ID", help="A file, an id or a title.")]
PartWeights = Annotated[
    str | None, typer.Option(help="Parts and weights: drums=1,bass=0.5; default: all five.")
]
Start = Annotated[str | None, typer.Option("--from", help="Stretch: 42, 0:42, 1:02:03.")]
End = Annotated[str | None, typer.Option("--to", help="End of the stretch.")]
Near = Annotated[
    list[str] | None,
    typer.Option(
        "--and",
        help="A further example, PIECE@FROM-TO:PARTS, such as 'B@0:10-0:20:bass=1'; repeatable.",
    ),
]
Away = Annotated[
    list[str] | None,
    typer.Option("--not", help="An example to move away from, written the same; repeatable."),
]
Number = Annotated[int, typer.Option("-n", "--number", min=1, help="Matches at most.")]
Folders = Annotated[
    list[Path] | None, typer.Option("--folder", help="Only files below it; repeatable.")
]
Artists = Annotated[list[str] | None, typer.Option("--artist", help="Only by them; repeatable.")]
Genres = Annotated[
    list[str] | None, typer.Option("--genre", help="Only with this in the genre; repeatable.")
]
Tempo = Annotated[str | None, typer.Option("--bpm", help="Only in this range: 90-120, 90-, -120.")]
Years = Annotated[str | None, typer.Option("--year", help="Only in this range: 1968-1974.")]
Lengths = Annotated[
    str | None, typer.Option("--duration", help="Only in this range: 2:00-6:30, -5:00.")
]
PerArtist = Annotated[
    int | None, typer.Option("--per-artist", min=1, help="Matches of one artist at most.")
]
Collapse = Annotated[
    bool, typer.Option(help="Show files of one recording as one match, and the query's not.")
]
Scaling = Annotated[bool, typer.Option(help="Put pieces back that are near to everything.")]
Exact = Annotated[
    bool | None,
    typer.Option("--exact/--probable", help="Compare all pieces, or ask the indexes."),
]
PlaylistFile = Annotated[Path, typer.Option("-o", "--output", help="A playlist, .m3u8.")]


@search_app.command()
def similar(
    query: QueryText,
    part: PartWeights = None,
    start: Start = None,
    end: End = None,
    near: Near = None,
    away: Away = None,
    number: Number = 20,
    folder: Folders = None,
    artist: Artists = None,
    genre: Genres = None,
    bpm: Tempo = None,
    year: Years = None,
    duration: Lengths = None,
    per_artist: PerArtist = None,
    collapse: Collapse = True,
    scaling: Scaling = True,
    exact: Exact = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: each part and the passages that met.")
    ] = False,
    engine: EngineName = None,
    address: Address = None,
    catalogue: CataloguePath = None,
    as_json: AsJson = False,
) -> None:
    """Find the pieces and passages most like one, in the parts you choose."""
    filters = _filter(folder, artist, genre, bpm, year, duration)
    if is_cluster(engine, address):
        if start or end or near or away or per_artist or exact or not collapse:
            raise UsageError(
                "a cluster searches by one whole piece; leave out --from, --to, --and, --not, "
                "--per-artist, --exact and --no-collapse, or --engine"
            )
        found = _search_on_cluster(catalogue, address, query, part, number, filters)
    else:
        found = _search(
            catalogue, query, part, start, end, near, away, number, filters, per_artist, collapse,
            scaling, exact,
        )  # fmt: skip
    console_search.print_matches(found, as_json, explain)


@search_app.command()
def playlist(
    query: QueryText,
    output: PlaylistFile,
    part: PartWeights = None,
    start: Start = None,
    end: End = None,
    near: Near = None,
    away: Away = None,
    number: Number = 20,
    folder: Folders = None,
    artist: Artists = None,
    genre: Genres = None,
    bpm: Tempo = None,
    year: Years = None,
    duration: Lengths = None,
    per_artist: PerArtist = None,
    collapse: Collapse = True,
    scaling: Scaling = True,
    exact: Exact = None,
    catalogue: CataloguePath = None,
) -> None:
    """Write the matches of a search to a playlist; the options are those of similar."""
    from stemwise.library.playlist import write_playlist

    filters = _filter(folder, artist, genre, bpm, year, duration)
    found = _search(
        catalogue, query, part, start, end, near, away, number, filters, per_artist, collapse,
        scaling, exact,
    )  # fmt: skip
    console_search.tell_search(found)
    count = write_playlist(output, (match.piece for match in found.matches))
    print(f"{output}: {count} pieces")


@search_app.command()
def path(
    first: Annotated[str, typer.Argument(metavar="FROM", help="Id, path or title of a piece.")],
    last: Annotated[str, typer.Argument(metavar="TO", help="Id, path or title of another.")],
    part: PartWeights = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A playlist as well, .m3u8.")
    ] = None,
    catalogue: CataloguePath = None,
    as_json: AsJson = False,
) -> None:
    """Go from one piece to another in small steps, each to a piece that is near."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.journey import journey
    from stemwise.library.playlist import write_playlist

    weights = parse_weights(part) if part is not None else None
    steps = journey(Catalogue.open(catalogue_path(catalogue)), first, last, weights)
    if output is not None:
        write_playlist(output, (step.piece for step in steps))
    console_search.print_journey(steps, as_json)


@search_app.command()
def duplicates(catalogue: CataloguePath = None, as_json: AsJson = False) -> None:
    """List recordings of which there are several files, whatever their codec or level."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.duplicates import duplicates as find

    found = find(Catalogue.open(catalogue_path(catalogue)).vectors())
    console_search.print_duplicates(found, as_json)


@search_app.command()
def hubs(
    part: Annotated[str | None, typer.Option(help="Parts: drums,bass; default: all five.")] = None,
    catalogue: CataloguePath = None,
    as_json: AsJson = False,
) -> None:
    """Show how evenly pieces are found: which are near to everything, and how many never."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.hubs import hubness_of

    parts = tuple(parse_weights(part)) if part is not None else PARTS
    found = hubness_of(Catalogue.open(catalogue_path(catalogue)), parts)
    console_search.print_hubs(found, as_json)


@search_app.command()
def export(
    output: Annotated[Path, typer.Option("-o", "--output", help=".npz, .csv or .parquet.")],
    catalogue: CataloguePath = None,
) -> None:
    """Write all vectors of the catalogue, segment by segment, for other programs."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.export import export as write

    with console.progress("files") as progress:
        count = write(Catalogue.open(catalogue_path(catalogue)), output, progress)
    print(f"{output}: {count} segments")


@search_app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or its file.")],
    corpus: Annotated[Path, typer.Option(help="A corpus, as `stemwise data` makes it.")],
    split: Annotated[str, typer.Option(help="Pieces that the model was not trained on.")] = "valid",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: beside the model.")
    ] = None,
) -> None:
    """Measure how far unrelated pieces are from each other, so that similarities mean the same."""
    from stemwise.corpora.bank import bank_of
    from stemwise.library.calibration import calibration_beside, write_calibration
    from stemwise.library.held_out import calibrate_model
    from stemwise.models.checkpoint import load_model

    loaded = load_model(model)
    with console.progress("pieces prepared") as progress:
        bank = bank_of(corpus, loaded.sample_rate_hz, progress)
    about = {"corpus": corpus.absolute().name, "split": split}
    with console.progress("pieces described") as progress:
        found = calibrate_model(loaded, _mixtures(bank, split, progress), about)
    path = output or calibration_beside(model)
    write_calibration(found, path)
    print(f"{path}: {found.about['pieces']} pieces, {found.about['pairs']} pairs")


@search_app.command("map")
def draw(
    output: Annotated[Path, typer.Option("-o", "--output", help="A picture, .png.")],
    catalogue: CataloguePath = None,
) -> None:
    """Draw the catalogue as five maps, one per part."""
    with extra("map"):
        from stemwise.library.picture import draw_map
    from stemwise.library.catalogue import Catalogue

    pieces = draw_map(Catalogue.open(catalogue_path(catalogue)), output)
    print(f"{output}: {pieces} pieces")


@search_app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of music.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="For the catalogue and the map.")],
    query: Annotated[str | None, typer.Option(help="Id or title; default: the fullest.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Matches each.")] = 5,
) -> None:
    """Index a folder, ask one piece what sounds alike part by part, and draw the map."""
    with extra("map"):
        from stemwise.library.tour import tour

    with console.progress("files") as progress:
        seen = tour(folder, output, query, number, progress)
    console.print_index(seen.summary, as_json=False)
    for name, result in seen.results.items():
        weights = ",".join(f"{part}={weight:g}" for part, weight in result.weights.items())
        print(f"\nnearest to {result.query} by {name} ({weights})")
        console_search.print_matches(result, as_json=False)
    for part in seen.silent:
        console.remark(f"no {part} sounds in this piece")
    print(f"\nmap of the collection, part by part: {seen.picture}")


def _mixtures(bank: "Bank", split: str, progress: console.Mover) -> "Iterator[Mixture]":
    """Yield the mixtures of a split."""
    import numpy as np

    from stemwise.library.held_out import Mixture

    chosen = [k for k, piece in enumerate(bank.pieces) if piece.split == split]
    for done, k in enumerate(chosen, start=1):
        stems = np.stack([bank.stem(k, part) for part in range(len(PARTS))])
        yield Mixture(bank.pieces[k].identifier, bank.pieces[k].song, stems.sum(axis=0))
        progress(done, len(chosen))


def _search(
    catalogue: Path | None,
    query: str,
    part: str | None,
    start: str | None,
    end: str | None,
    near: list[str] | None,
    away: list[str] | None,
    number: int,
    filters: "Filter | None",
    per_artist: int | None,
    collapse: bool,
    scaling: bool,
    exact: bool | None,
) -> "SearchResult":
    """Search as the options of `similar` say."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.query import Example, parse_example
    from stemwise.library.search import similar as search

    weights = parse_weights(part) if part is not None else None
    start_seconds, end_seconds = (read_clock(t) if t is not None else None for t in (start, end))
    examples = [
        Example(query, None, start_seconds, end_seconds),
        *(parse_example(text) for text in near or []),
        *(parse_example(text, away=True) for text in away or []),
    ]
    store = Catalogue.open(catalogue_path(catalogue))
    return search(
        store, examples, weights, n=number, filters=filters, per_artist=per_artist,
        collapse=collapse, scaling=scaling, exact=exact,
    )  # fmt: skip


def _search_on_cluster(
    catalogue: Path | None,
    address: str | None,
    query: str,
    part: str | None,
    number: int,
    filters: "Filter | None",
) -> "SearchResult":
    """Search with all machines of a cluster."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.scale.engine import connect
    from stemwise.scale.searching import similar_on_cluster

    weights = parse_weights(part) if part is not None else None
    store = Catalogue.open(catalogue_path(catalogue))
    connect(address)
    return similar_on_cluster(store, query, weights, number, filters=filters)


def _filter(
    folders: list[Path] | None,
    artists: list[str] | None,
    genres: list[str] | None,
    bpm: str | None,
    year: str | None,
    duration: str | None,
) -> "Filter":
    """Return the filter that the options ask for."""
    from stemwise.library.filters import Filter, parse_range

    return Filter(
        tuple(folders or ()),
        tuple(artists or ()),
        tuple(genres or ()),
        parse_range(bpm, "beats per minute") if bpm else None,
        parse_range(year, "years") if year else None,
        parse_range(duration, "durations", read_clock) if duration else None,
    )
