"""Codecs: pixels to thumbnails, and back."""
