"""Where images come from: listing a source, and fetching what was planned of it."""

from ops.sources.fetching import fetch
from ops.sources.report import ScanReport, SourceError
from ops.sources.scanning import scan

__all__ = ["ScanReport", "SourceError", "fetch", "scan"]
