"""Benchmarks: `python -m bench throughput memory resume lookup scale`, results as Markdown tables and JSON."""
