"""Tests of the page in a real browser, against a real server.

A package, so that the browser is closed after its tests: its event loop would trouble others.
"""
