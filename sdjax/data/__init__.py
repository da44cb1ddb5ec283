"""Texts from any file, a corpus on disk, windows over it: everything that reads."""
