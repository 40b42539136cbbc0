"""Corpora: pieces with five stems and a split by song, and the bank prepared from them."""
