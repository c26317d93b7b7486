"""Metrics, one file each: a number for a reconstruction and its reference."""
