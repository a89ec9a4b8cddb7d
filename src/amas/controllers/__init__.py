"""One small duty per file: `run()` beats, `run_once()` does one bounded sweep."""
