"""The models that a server knows: those that come with Stemwise, and the catalogue's own."""

import os
import threading

from stemwise.errors import ModelError, StemwiseError
from stemwise.models.checkpoint import Model, load_model, shipped_models
from stemwise.web.failures import HttpError
from stemwise.web.messages import ModelAnswer

__all__ = ["KnownModels"]


class KnownModels:
    """Loads models when they are first asked about; may be used by many threads."""

    def __init__(self) -> None:
        self._told: dict[str, ModelAnswer] = {}
        self._separator: tuple[str, Model] | None = None
        self._lock = threading.Lock()

    def list(self, own: str | None, fingerprint: str | None) -> list[ModelAnswer]:
        """Return all models; `own` is the catalogue's, whose vectors have `fingerprint`."""
        found = []
        for source in dict.fromkeys([*shipped_models(), *([own] if own else [])]):
            try:
                told = self.told(source)
            except StemwiseError:  # the file of the catalogue's model has gone
                continue
            found.append(told.model_copy(update={"live": told.fingerprint == fingerprint}))
        return found

    def told(self, source: str) -> ModelAnswer:
        """Return what is to be said of the model `source`.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._lock:
            if source not in self._told:
                model = load_model(source)
                self._told[source] = _answer(model)
                if model.separates:
                    self._separator = (source, model)
            return self._told[source]

    def separator(self, source: str) -> Model:
        """Return the model `source`, which separates.

        Raises:
            HttpError: it does not, or is not there.
        """
        try:
            told = self.told(source)
        except ModelError as error:
            raise HttpError("conflict", "the catalogue's model is not there", "") from error
        if not told.separates:
            raise HttpError(
                "conflict",
                f"the model {told.name} does not separate parts",
                "leave out part, or rebuild the catalogue with a model that separates",
            )
        with self._lock:
            if self._separator is None or self._separator[0] != source:
                self._separator = (source, load_model(source))
            return self._separator[1]


def _answer(model: Model) -> ModelAnswer:
    recipe = model.provenance.get("recipe", {})
    return ModelAnswer(
        name=os.path.basename(model.name),
        fingerprint=model.fingerprint,
        live=False,
        separates=model.separates,
        parameters=sum(values.numel() for values in model.network.parameters()),
        sample_rate_hz=model.sample_rate_hz,
        segment_seconds=model.segment_seconds,
        summary=str(recipe.get("summary", "")) if isinstance(recipe, dict) else "",
    )
