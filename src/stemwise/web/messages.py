"""What goes over the wire: every request and every answer as a model.

Conventions: times are seconds from the start, shares and presences 0..1, parts always in the order
drums, bass, piano, guitar, residuals. An unknown key in a request is an error.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from stemwise.parts import PARTS
from stemwise.web.settings import MOST_MATCHES

__all__ = [
    "Asked", "ByPart", "Example", "Features", "Filters", "Health", "Job", "JobRequest", "MapAnswer",
    "MapPoint", "Match", "ModelAnswer", "PartMatch", "Passage", "PathAnswer", "PathRequest",
    "PathStep", "PlaylistRequest", "PlaylistSaved", "Query", "SearchAnswer", "SearchRequest",
    "Segment", "Track", "TrackAnswer", "TrackId", "Tracks", "UploadAnswer", "Waveform",
]  # fmt: skip

MOST_QUERIES = 16
MOST_IN_PLAYLIST = 5000
MOST_FILTER_VALUES = 200

TrackId = Annotated[
    str, Field(pattern="^[0-9a-f]{12}$", description="12 hex digits.", examples=["0f3a9c12be47"])
]
UploadId = Annotated[
    str, Field(pattern="^[A-Za-z0-9_-]{16,64}$", description="As POST uploads gave it.")
]
Text = Annotated[str, Field(max_length=500)]
Seconds = Annotated[FiniteFloat, Field(ge=0, le=1e7)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[FiniteFloat, Field(ge=0, le=1e6)]
Bound = Annotated[FiniteFloat, Field(ge=0, le=1e7)]
Range = tuple[Bound | None, Bound | None]


class Message(BaseModel):
    """An answer."""

    model_config = ConfigDict(protected_namespaces=())


class Request(BaseModel):
    """A request; it holds what is known and nothing else."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ByPart(Message):
    """A number 0..1 for each part."""

    drums: Share
    bass: Share
    piano: Share
    guitar: Share
    residuals: Share


class Weights(Request):
    """What each part counts, relative to the others; a part that is left out counts nothing."""

    drums: Weight = 0.0
    bass: Weight = 0.0
    piano: Weight = 0.0
    guitar: Weight = 0.0
    residuals: Weight = 0.0

    def by_part(self) -> dict[str, float]:
        """Return the weights of all five parts."""
        return {part: getattr(self, part) for part in PARTS}


class Track(Message):
    """One piece of music."""

    id: TrackId
    title: str
    artist: str
    album: str
    year: int | None
    genre: str
    bpm: float | None
    duration_seconds: float
    parts: ByPart = Field(description="Share of the track's segments in which the part sounds.")


class Tracks(Message):
    """Some of the tracks that were asked for."""

    total: int
    items: list[Track]


class Segment(Message):
    """A stretch of a track and what sounds in it."""

    start_seconds: float
    end_seconds: float
    level_db: float
    presence: ByPart


class TrackAnswer(Track):
    """A track with its segments."""

    copies: int = Field(description="Further files with the same bytes.")
    segments: list[Segment]


class Waveform(Message):
    """The outline of a track."""

    duration_seconds: float
    peaks: list[float] = Field(description="The largest sample of each of equal stretches, 0..1.")


class Features(Message):
    """What this server can do, and its limits."""

    separate: bool
    index: bool
    save_playlists: bool
    upload_max_bytes: int
    upload_max_seconds: float


class Health(Message):
    """How the server is."""

    status: Literal["ok"] = "ok"
    version: str
    model: str | None
    fingerprint: str | None
    tracks: int
    segments: int
    indexing: bool
    features: Features


class Query(Request):
    """One example: a track or an upload, or a stretch of it."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={"anyOf": [{"required": ["track"]}, {"required": ["upload"]}]},
    )

    track: TrackId | None = None
    upload: UploadId | None = None
    parts: Weights | None = None
    start: Seconds | None = Field(None, alias="from")
    end: Seconds | None = Field(None, alias="to")
    away: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.track is None) == (self.upload is None):
            raise ValueError("name either a track or an upload")
        return self


class Filters(Request):
    """What a match must be; null or absent asks for nothing."""

    artists: list[Text] | None = Field(None, max_length=MOST_FILTER_VALUES)
    genres: list[Text] | None = Field(None, max_length=MOST_FILTER_VALUES)
    bpm: Range | None = None
    year: Range | None = None
    duration_seconds: Range | None = None

    @field_validator("bpm", "year", "duration_seconds")
    @classmethod
    def _rises(cls, value: Range | None) -> Range | None:
        if value is not None and None not in value and value[0] > value[1]:  # type: ignore[operator]
            raise ValueError("a range must rise")
        return value


class SearchRequest(Request):
    """What to look for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"queries": [{"track": "0f3a9c12be47"}], "parts": {"drums": 1, "bass": 0.5}}
            ]
        },
    )

    queries: list[Query] = Field(min_length=1, max_length=MOST_QUERIES)
    parts: Weights | None = Field(None, description="For queries without their own; null: all 1.")
    n: int = Field(20, ge=1, le=MOST_MATCHES)
    filters: Filters | None = None
    per_artist: int | None = Field(None, ge=1, le=MOST_MATCHES)
    collapse: bool = Field(True, description="Make files of one recording one match.")
    exact: bool | None = Field(None, description="Null: as the catalogue's size suggests.")
    explain: bool = False


class PartMatch(Message):
    """How near a match comes in one part."""

    similarity: float
    distance: float
    presence: float


class Passage(Message):
    """The place in a match that is nearest to one segment of a query."""

    query: int = Field(description="Index into the queries.")
    query_seconds: float
    match_seconds: float
    distance: float


class Example(Message):
    """How a match stands to one query."""

    name: str
    away: bool
    similarity: float
    distance: float
    parts: dict[str, PartMatch]


class Match(Message):
    """A track found."""

    track: Track
    similarity: float
    distance: float
    parts: dict[str, PartMatch]
    passage: Passage = Field(description="The nearest.")
    same_recording: list[Track]
    passages: list[Passage] | None = Field(None, description="All; with explain only.")
    examples: list[Example] | None = Field(None, description="With explain only.")


class Asked(Message):
    """A query as it was understood."""

    track: str | None = None
    upload: str | None = None
    name: str
    away: bool
    weights: dict[str, float]
    absent_parts: list[str] = Field(description="Wanted, but silent in the stretch.")


class SearchAnswer(Message):
    """Matches, nearest first."""

    asked: list[Asked]
    matches: list[Match]
    kind: Literal["exact", "probable"]
    calibration: str
    searched: int
    over_limit: int
    took_ms: float


class PathRequest(Request):
    """From where to where a path leads."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "examples": [{"from": "0f3a9c12be47", "to": "c41bb0a97d35", "parts": {"drums": 1}}]
        },
    )

    first: TrackId = Field(alias="from")
    last: TrackId = Field(alias="to")
    parts: Weights | None = None


class PathStep(Message):
    """A track on the way."""

    track: Track
    distance: float | None = Field(description="To the one before; null for the first.")


class PathAnswer(Message):
    """A path, first to last."""

    steps: list[PathStep]


class MapPoint(Message):
    """A track on the map; x and y are -1..1."""

    id: str
    title: str
    artist: str
    x: float
    y: float


class MapAnswer(Message):
    """The map of one part."""

    part: str
    final: bool = Field(description="False: a better map is being made; ask again.")
    kind: Literal["tsne", "pca"]
    points: list[MapPoint]


class PlaylistRequest(Request):
    """A playlist to make."""

    name: str = Field(min_length=1, max_length=100)
    tracks: list[TrackId] = Field(min_length=1, max_length=MOST_IN_PLAYLIST)
    save: bool = False


class PlaylistSaved(Message):
    """A playlist that lies in the server's folder."""

    name: str
    tracks: int


class UploadAnswer(Message):
    """A file that was described; the file itself is gone."""

    upload: str
    name: str
    duration_seconds: float
    segments: list[Segment]
    parts: ByPart
    expires_seconds: float


class JobRequest(Request):
    """Work to be started."""

    kind: Literal["index"]
    retry: bool = Field(False, description="Try files again that failed before.")
    prune: bool = Field(False, description="Forget tracks whose file has gone.")


class Job(Message):
    """A piece of work beside the requests."""

    id: str
    kind: Literal["index"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    message: str
    started: float | None = Field(description="Seconds since 1970.")
    ended: float | None


class ModelAnswer(Message):
    """A model that makes vectors."""

    name: str
    fingerprint: str
    live: bool = Field(description="Whether this catalogue's vectors are its.")
    separates: bool
    parameters: int
    sample_rate_hz: int
    segment_seconds: float
    summary: str
