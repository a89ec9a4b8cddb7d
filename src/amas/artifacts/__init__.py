"""Large values by content address: in a local folder or in S3."""
