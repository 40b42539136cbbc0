"""The paper's own figures, Tables I to III, as it prints them.

They are of Slakh2100, 136 test songs, and so never stand in one table with scores on other data.
MES is in percent, SDR in dB. None: the paper has no number there, by a dash or a blank cell. A
network of Cascade has no residuals. Table II has no row for Clean and none for Cascade with
Spleeter. Rows "from" a source are quoted by the paper from there: H22 and H24 are Hashizume et
al., arXiv 2211.07863 and 2404.06682.

Reference: Imamura, Hashizume, Toda, "Multi-Task Learning Approaches for Music Similarity
Representation Learning Based on Individual Instrument Sounds", tables I, II and III.
"""

__all__ = ["PAPER", "PAPER_HEARS_STEMS"]

# Table: method: drums, bass, piano, guitar, residuals. Text, so that no digit is made up or lost.
PAPER: dict[str, dict[str, tuple[str | None, ...]]] = {
    "MES-Normal": {
        "Clean, from H22": ("98.04", "94.60", "98.14", "96.35", None),
        "Cascade with Spleeter, from H22": ("88.91", "63.87", "50.34", None, None),
        "Cascade from scratch": ("90.98", "73.39", "80.77", "79.53", None),
        "Cascade from scratch, no pseudo-pieces": ("92.71", "90.20", "93.62", "90.90", None),
        "Cascade-FT": ("93.03", "74.96", "81.96", "82.78", None),
        "Cascade-FT, no pseudo-pieces": ("94.89", "95.63", "96.21", "94.40", None),
        "Direct, from H24": ("89.69", "84.45", "85.70", "86.27", "84.86"),
        "Direct with DA": ("89.33", "71.09", "79.74", "81.75", "85.67"),
        "Direct-Reconst": ("91.14", "81.30", "84.76", "85.17", "88.84"),
    },
    "MES-Pseudo": {
        "Cascade from scratch": ("98.68", "93.02", "91.73", "92.19", None),
        "Cascade from scratch, no pseudo-pieces": ("95.09", "77.30", "81.02", "77.60", None),
        "Cascade-FT": ("98.91", "94.80", "93.55", "93.89", None),
        "Cascade-FT, no pseudo-pieces": ("95.96", "71.54", "69.59", "77.40", None),
        "Direct, from H24": ("85.5", "37.1", None, "44.7", "74.7"),
        "Direct with DA": ("97.93", "68.22", "69.22", "63.24", "89.99"),
        "Direct-Reconst": ("98.25", "77.74", "79.20", "82.47", "94.62"),
    },
    "SDR": {
        "Cascade with Spleeter, from H22": ("-13.7", "-15.5", "-14.7", None, None),
        "Cascade from scratch": ("15.50", "10.54", "7.81", "6.94", None),
    },
}
PAPER_HEARS_STEMS = frozenset({"Clean, from H22"})
