"""Research over documents: read, searched, extracted and written up, with the source of every statement."""
