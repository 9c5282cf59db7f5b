"""Leaf helpers, one noun a file: the standard library and the core only."""
