"""Reads digits."""
