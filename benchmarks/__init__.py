"""What `make bench` measures. Prints tables and writes `benchmarks/results.json`; nothing here is a test."""
