"""A fleet's day, compressed: `python -m benchmarks.day` (docs/report.md)."""
