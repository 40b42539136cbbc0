"""Stemwise finds music that sounds alike one instrument at a time.

Importing the package does nothing but define names; models and the catalogue load when first used::

    import stemwise

    catalogue = stemwise.Catalogue.open("my catalogue", create=True)
    catalogue.index("Music")
    model = stemwise.load_model()
    vectors = stemwise.embed_file("song.flac", model).embeddings  # (S, 5, 128)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stemwise.errors import StemwiseError
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.embed import embed_file
    from stemwise.models.checkpoint import Model, load_model

__version__ = "0.1.0"

__all__ = ["Catalogue", "Model", "StemwiseError", "__version__", "embed_file", "load_model"]

_HOMES = {
    "Catalogue": "stemwise.library.catalogue",
    "Model": "stemwise.models.checkpoint",
    "StemwiseError": "stemwise.errors",
    "embed_file": "stemwise.library.embed",
    "load_model": "stemwise.models.checkpoint",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stemwise' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public."""
    return __all__
