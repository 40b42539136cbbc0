"""What a recipe tells of each stage. Every field has a unit and a sentence.

References: section IV-C of the paper; what it leaves out follows the authors' published code, and
what neither tells is listed in docs/method.md.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "BatchSettings",
    "ContrastiveSettings",
    "HeadsSettings",
    "ItemSettings",
    "LengthenedSettings",
    "MaskedSettings",
    "PresenceSettings",
    "PretrainingSettings",
    "Section",
    "SegmentSettings",
    "StageSettings",
    "TimbreSettings",
    "TripletSettings",
]


class Section(BaseModel):
    """A table of a recipe: strict and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmentSettings(Section):
    """What is cut from the training pieces."""

    seconds: float = Field(description="Length of a training segment, in seconds.", gt=0)
    hop_seconds: float = Field(description="Step between segments of a piece, in seconds.", gt=0)
    silence_rule: Literal["range", "power"] = Field(
        description="Which rule says that a part sounds: range (A) or power (B)."
    )


class StageSettings(Section):
    """How one stage moves its weights, by Adam at a constant rate."""

    batch: int = Field(description="Items per step, over all processes together.", gt=0)
    epochs: int = Field(description="Epochs at most.", gt=0)
    learning_rate: float = Field(description="Learning rate of Adam.", gt=0)
    patience_epochs: int = Field(
        description="Stop after so many epochs without a better validation.", gt=0
    )
    monitor: Literal["loss", "mes_pseudo"] = Field(
        default="loss",
        description="What is best: the least validation loss, or the highest MES-Pseudo.",
    )
    mes_every_epochs: int = Field(
        default=0, description="Epochs between two MES-Pseudo on validation songs; 0: never.", ge=0
    )

    @model_validator(mode="after")
    def _monitored(self) -> Self:
        if self.monitor == "mes_pseudo" and self.mes_every_epochs != 1:
            raise ValueError("monitor = mes_pseudo needs mes_every_epochs = 1")
        return self


class TripletSettings(StageSettings):
    """A stage that learns from triplets: equation (1), the separation loss, or both."""

    plan: Literal["pseudo", "normal", "listed"] = Field(
        description="Pseudo-pieces made anew, real pieces, or a fixed list of pseudo-pieces."
    )
    triplets_per_epoch: int = Field(
        description="Items per epoch; with a fixed list, its length, even.", gt=1
    )
    valid_triplets: int = Field(description="Items of the validation loss.", gt=0)
    margin: float = Field(description="Margin delta of equation (1).", ge=0)
    triplet: float = Field(description="Weight of the triplet loss.", ge=0)
    separation: float = Field(
        description="Weight of the separation loss, three clips summed.", ge=0
    )

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not (self.triplet or self.separation):
            raise ValueError("a stage needs a weight above 0, triplet or separation")
        return self

    @property
    def steps_per_epoch(self) -> int:
        """Batches that make an epoch."""
        return -(-self.triplets_per_epoch // self.batch)


class ItemSettings(StageSettings):
    """A stage that draws items one by one."""

    items_per_epoch: int = Field(description="Items per epoch.", gt=0)
    valid_items: int = Field(description="Items of the validation loss.", gt=0)

    @property
    def steps_per_epoch(self) -> int:
        """Batches that make an epoch."""
        return -(-self.items_per_epoch // self.batch)


class PretrainingSettings(ItemSettings):
    """Direct's pre-training on concatenated Clean vectors, over subsets of the stems."""

    songs: int = Field(description="Songs to draw from, the first of the split; 0: all.", ge=0)
    segments_per_song: int = Field(description="Segments of each song at most.", gt=0)


class PresenceSettings(ItemSettings):
    """Direct-Mask's head of presence, all else at rest, on segments as long as in use."""

    hop_seconds: float = Field(description="Step between segments, in seconds.", gt=0)
    whole: float = Field(description="Share of items with all parts of the piece.", ge=0, le=1)


class BatchSettings(Section):
    """Our own stages: contrast over batches of songs, by AdamW, or by Muon and AdamW."""

    mixtures: int = Field(description="Mixtures per batch; even.", ge=2, multiple_of=2)
    kept_parts: tuple[float, float, float, float, float] = Field(
        description="Weights of keeping 1, 2, 3, 4 or 5 parts of a mixture."
    )
    twins: int = Field(
        default=0, description="Mixtures repeated with one part from elsewhere.", ge=0
    )
    gain_deviation_db: float = Field(
        description="Deviation of the random gain of each stem, in dB.", ge=0
    )
    contrastive: float = Field(description="Weight of the contrastive loss, mean of parts.", ge=0)
    temperature: float = Field(description="Temperature of the contrastive loss.", gt=0)
    presence: float = Field(description="Weight of the presence loss.", ge=0)
    separation: float = Field(description="Weight of the separation loss.", ge=0)
    steps: int = Field(description="Batches in all.", gt=0)
    steps_per_epoch: int = Field(description="Batches between two checkpoints.", gt=0)
    mes_every_epochs: int = Field(description="Epochs between two validations.", gt=0)
    learning_rate: float = Field(description="Peak learning rate of AdamW.", gt=0)
    muon_learning_rate: float = Field(
        default=0.0, description="Peak learning rate of Muon, for matrices; 0: AdamW's.",
        ge=0, exclude_if=lambda told: not told,  # runs from before keep their keys
    )  # fmt: skip
    weight_decay: float = Field(description="Weight decay of both.", ge=0)
    warmup_steps: int = Field(description="Batches of linear warm-up; then a cosine to 0.", ge=0)

    @property
    def epochs(self) -> int:
        """Epochs that hold all steps."""
        return -(-self.steps // self.steps_per_epoch)

    @property
    def mixtures_with_stems(self) -> int:
        """How many of a batch's mixtures bring their stems."""
        return self.mixtures + self.twins


class ContrastiveSettings(BatchSettings):
    """Direct from scratch: contrast, presence, and masks as an auxiliary task."""

    separated_mixtures: int = Field(
        description="Mixtures of each batch on which the separation loss is taken.", ge=1
    )
    mask_layer: int = Field(
        description="Encoder layer, counted from 1, from which the masks are read.", ge=1
    )

    @property
    def mixtures_with_stems(self) -> int:
        """How many of a batch's mixtures bring their stems."""
        return self.separated_mixtures if self.separation else 0


class TimbreSettings(Section):
    """How far a drawn stem is made another, alike in both of a piece's segments."""

    semitones: float = Field(
        description="It is played faster or slower, by up to this.", ge=0, le=12
    )
    drive_db: float = Field(
        description="Half of all go through an amplifier, by up to this above its knee.", ge=0
    )
    colour_deviation_db: float = Field(description="Deviation of its own equaliser, in dB.", ge=0)
    rooms: float = Field(description="Share of stems that are in a room.", ge=0, le=1)


class MaskedSettings(BatchSettings):
    """Direct-Mask: separation, then contrast through its masks as well."""

    separation_only_steps: int = Field(
        description="Batches at the start from which nothing but masks is learnt.", ge=0
    )
    eq_deviation_db: float = Field(
        default=0.0, description="Deviation of a random equaliser over each mixture, in dB.", ge=0
    )
    heard_in: int = Field(
        default=1, description="Mixtures in which each drawn stem is heard.", ge=1
    )
    speed_semitones: float = Field(
        default=0.0, description="Each stem is played faster or slower, by up to this.", ge=0, le=12
    )
    mask_loss: Literal["magnitudes", "shares"] = Field(
        default="magnitudes", description="The separation loss: L1 of magnitudes, or of shares."
    )
    presence_head: bool = Field(
        default=False, description="Is the head of presence taught beside the masks?",
        exclude_if=lambda told: not told,
    )  # fmt: skip
    timbres: TimbreSettings | None = Field(
        default=None, description="What each drawn stem is made into; by default nothing else.",
        exclude_if=lambda told: told is None,
    )  # fmt: skip
    begin_with: str = Field(
        default="", description="Shipped model, file or run whose weights training goes on from.",
        exclude_if=lambda told: not told,  # runs from before keep their keys
    )  # fmt: skip


class LengthenedSettings(MaskedSettings):
    """The same on longer segments, nearer to those in use; what is left out is as in [masked]."""

    seconds: float = Field(description="Length of the segments, in seconds.", gt=0)
    hop_seconds: float = Field(description="Step between segments, in seconds.", gt=0)


class HeadsSettings(Section):
    """Direct-Mask's last layers in closed form, all else at rest, on segments as long as in use."""

    hop_seconds: float = Field(description="Step between segments, in seconds.", gt=0)
    draws: int = Field(description="How often stems are drawn.", ge=1)
    mixtures: int = Field(description="Mixtures of a draw; even.", ge=2, multiple_of=2)
    heard_in: int = Field(description="Mixtures in which each drawn stem is heard.", ge=1)
    gain_deviation_db: float = Field(
        description="Deviation of the random gain of each stem, in dB.", ge=0
    )
    eq_deviation_db: float = Field(
        description="Deviation of a random equaliser over each mixture, in dB.", ge=0
    )
    speed_semitones: float = Field(
        description="Each mixture is played faster or slower, by up to this.", ge=0, le=12
    )
    shrinkage: float = Field(
        description="Added to each variance within pieces, in mean variances.", gt=0
    )
