"""Weights, recipe and provenance, saved and loaded as one thing; the shipped models.

A checkpoint is one safetensors file. Its metadata holds, as JSON, the shape of the network, where
the weights come from, and nothing that runs code. Weights may be stored in half precision; they
are always used in single precision.

Convention: a **fingerprint** is 16 hex digits of a hash over the weights as used, the shape (front
end and length of a segment included) and the way files are cut into segments. Vectors of different
fingerprints are never compared.
"""

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file

from stemwise.errors import ModelError
from stemwise.models.cascade import Cascade, CascadeShape, Clean, CleanShape
from stemwise.models.direct import Direct, DirectReconst, DirectShape
from stemwise.models.direct_mask import DirectMask, DirectMaskShape
from stemwise.parts import PARTS

__all__ = [
    "DEFAULT_MODEL",
    "METHODS",
    "Model",
    "Network",
    "load_model",
    "method_of",
    "read_provenance",
    "save_model",
    "shipped_models",
]

FORMAT = "stemwise-model-1"
Network = Clean | Cascade | Direct | DirectReconst | DirectMask
Shape = CleanShape | CascadeShape | DirectShape | DirectMaskShape
METHODS: dict[str, tuple[type[Network], type[Shape]]] = {
    "clean": (Clean, CleanShape),
    "cascade": (Cascade, CascadeShape),
    "direct": (Direct, DirectShape),
    "direct-reconst": (DirectReconst, DirectShape),
    "direct-mask": (DirectMask, DirectMaskShape),
}
DEFAULT_MODEL = "stemwise"
"""The shipped model that is taken where none is named."""

SEGMENTING = "whole-1"  # of audio.cut: change it whenever the same file would be cut otherwise


class Model(torch.nn.Module):
    """A trained network with its name, fingerprint and provenance; always in eval mode.

    Attributes:
        takes_stems: a Clean model, which reads stems (B, 5, N) in place of the mixture (B, N).
        separates: whether `separate` works.
        parts: those that it was made for.
        source: what `load_model` takes to load it again, from any folder; None if it has no file.
    """

    def __init__(
        self, network: Network, name: str, provenance: dict[str, Any], source: str | None = None
    ) -> None:
        super().__init__()
        self.takes_stems = method_of(network) == "clean"
        self.separates = hasattr(network, "separate")
        self.parts: tuple[str, ...] = getattr(network.shape, "parts", PARTS)
        self.network = network.eval().requires_grad_(False)
        self.name = name
        self.provenance = provenance
        self.source = source
        self.sample_rate_hz = network.shape.sample_rate_hz
        self.segment_seconds = network.shape.segment_seconds
        self.fingerprint = _fingerprint(network)
        self._quick = self.network.merged() if isinstance(self.network, DirectMask) else network

    def train(self, mode: bool = True) -> "Model":
        """Refuse training mode: a checkpoint's vectors must not move."""
        if mode:
            raise ModelError("a loaded model is for use only; train with: stemwise train RECIPE")
        return super().train(mode)

    def describe(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence (B, 5) in 0..1 of `mixture`.

        A mixture is (B, N); a model that takes stems wants (B, 5, N) in its place.
        """
        return self._quick.describe(mixture)

    def embed(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of `mixture` as `describe` takes it, float32."""
        return self._quick.embed(mixture)

    def separate(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the parts (B, 5, N) of `mixture` (B, N).

        Raises:
            ModelError: the model does not separate.
        """
        if not self.separates:
            raise ModelError(
                f"{self.name} is a {method_of(self.network)} model and does not separate; use a "
                "cascade, direct-reconst or direct-mask model"
            )
        network: Any = self.network
        parts: torch.Tensor = network.separate(mixture)
        return parts


def method_of(network: Network) -> str:
    """Return the name of the network's method in ``METHODS``."""
    return next(name for name, (kind, _) in METHODS.items() if type(network) is kind)


def _fingerprint(network: Network) -> str:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{FORMAT} {SEGMENTING} {network.shape.model_dump_json()}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_model(
    network: Network, path: Path, *, name: str, provenance: dict[str, Any], half: bool = True
) -> None:
    """Write `network` to `path` as safetensors; floats in half precision unless `half` is false."""
    state = {
        key: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
        for key, value in network.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "name": name,
        "method": method_of(network),
        "shape": network.shape.model_dump_json(),
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file(state, temporary, metadata=metadata)
    temporary.replace(path)


def shipped_models() -> dict[str, Path]:
    """Return the models that come with the package, by name."""
    folder = Path(str(resources.files("stemwise.models") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def read_provenance(path: Path) -> dict[str, Any]:
    """Return where the weights in `path` come from, without reading them."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    try:
        return _provenance(metadata)
    except ValueError as error:
        raise ModelError(f"{path}: its provenance is not JSON: {error}") from error


def _provenance(metadata: dict[str, str]) -> dict[str, Any]:
    return dict(json.loads(metadata.get("provenance", "{}")))


def _model_of_run(run: Path) -> Path:
    recipe = run / "recipe.json"
    if not recipe.exists():
        raise ModelError(f"{run} is no run: it holds no recipe.json; name a run or a model's file")
    path = run / f"{json.loads(recipe.read_text())['name']}.safetensors"
    if not path.exists():
        raise ModelError(f"the run {run} is not finished; go on with the command in its run.json")
    return path


def load_model(name_or_path: str | Path = DEFAULT_MODEL, device: str = "cpu") -> Model:
    """Return a shipped model by name, the one in a safetensors file, or that of a finished run.

    Raises:
        ModelError: no such model or file, a run that is not finished, not a Stemwise checkpoint, or
            damaged weights.
    """
    shipped = shipped_models()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if path.is_dir():
        path = _model_of_run(path)
    if not path.is_file():
        names = ", ".join(shipped) or "none"
        raise ModelError(f"no model {str(name_or_path)!r}: neither a file nor shipped ({names})")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format")
        raise ModelError(f"{path} is not a Stemwise model: found {found}, wanted {FORMAT}")
    try:
        build, shape = METHODS[metadata["method"]]
        network = build(shape.model_validate_json(metadata["shape"]))  # type: ignore[arg-type]
        single = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        network.load_state_dict(single)
        provenance = _provenance(metadata)
    except (KeyError, RuntimeError, ValueError) as error:  # pydantic's and JSON's are ValueErrors
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path} does not fit its own description: {reason}") from error
    source = str(name_or_path) if str(name_or_path) in shipped else str(path.absolute())
    return Model(network, metadata.get("name", path.stem), provenance, source).to(device)
