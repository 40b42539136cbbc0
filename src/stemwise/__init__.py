"""Stemwise finds music that sounds alike one instrument at a time.

Importing the package does nothing but define names; models and the catalogue load when first used.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
