"""The history in SQL, written by the recorder from the journal."""
