"""Who starts the boxes."""
