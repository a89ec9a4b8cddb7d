"""Back-up and restore of a whole fleet: engine, records, artifacts, files."""
