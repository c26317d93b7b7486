"""The report of an evaluation: statistics, a verdict in words, tables, plots, a gallery; HTML, Markdown, CSV, JSON."""
