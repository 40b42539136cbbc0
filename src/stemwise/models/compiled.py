"""A model's network compiled by OpenVINO for the processor at hand: less time, the same vectors.

Conventions: mixtures (1, N) of exactly one segment; embeddings (1, 5, 128), presences (1, 5). The
front end stays in torch, whose FFT is faster; single precision throughout. The numbers differ from
torch's in the seventh digit, as torch's do from one kind of processor to the next.

Each segment goes through on one thread, as in torch (docs/decisions/0002), so neither the number
of jobs nor the neighbours change a bit. Measurements:
docs/decisions/0007-openvino-when-asked.md.
"""

import os
import sys
import warnings
from importlib import import_module
from threading import local
from typing import Any, Protocol

import torch
from torch import nn

from stemwise.errors import ModelError

__all__ = ["Compiled", "Readable"]


class Readable(Protocol):
    """A network whose front end can be told from the rest."""

    def see(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return what the front end makes of `mixture` (B, N)."""

    def read(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence logits (B, 5)."""


class _Rest(nn.Module):
    """A network without its front end, in the form that is compiled."""

    def __init__(self, network: Readable) -> None:
        super().__init__()
        self.network = network

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, logits = self.network.read(seen)
        return embedding, logits.sigmoid()


class Compiled:
    """The network, compiled for segments of `size` samples; may be used by many threads at once.

    Args:
        network: as it is used.
        size: samples of a segment.
        ready: what another process on this machine has compiled of it: takes no time.

    Raises:
        ModelError: OpenVINO is not installed.
    """

    def __init__(self, network: Readable, size: int, ready: bytes | None = None) -> None:
        openvino = _openvino()
        self.size = size
        self._network = network
        self._own = local()
        cores = len(os.sched_getaffinity(0))
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": cores,  # a thread for each
            "ENABLE_CPU_PINNING": False,
        }
        if ready is not None:
            self._compiled = openvino.Core().import_model(ready, "CPU", settings)
            return
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns of itself
            seen = network.see(torch.zeros(1, size)).contiguous()
            graph = openvino.convert_model(torch.export.export(_Rest(network).eval(), (seen,)))
        self._compiled = openvino.compile_model(graph, "CPU", settings)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with what was compiled, for another process on this machine."""
        ready = self._compiled.export_model().getvalue()
        return Compiled, (self._network, self.size, ready)

    def describe(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (1, 5, 128) and the presence (1, 5) in 0..1 of `mixture` (1, N)."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request = self._own.request
        request.infer([self._network.see(mixture).contiguous().numpy()])
        embedding, presence = (request.get_output_tensor(k).data.copy() for k in (0, 1))
        return torch.from_numpy(embedding), torch.from_numpy(presence)


def _openvino() -> Any:
    """Return the module, without the one that reports its use to its makers over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    except ImportError as error:
        raise ModelError(
            "the runtime openvino is not installed; run: pip install 'stemwise[openvino]'"
        ) from error
