"""What is done to an image: readers, decoding, codecs, metrics, the archive format. Knows neither Ray nor clusters."""

# Another distribution on PyPI also installs a package called `ops`; faces check for this mark before anything else.
REGROW = "regrow"
