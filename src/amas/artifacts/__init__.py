"""Large results: a content-addressed store in a local folder."""
