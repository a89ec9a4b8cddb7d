"""The history in SQL, written by the recorder from the journal and read by the API and the command line.

`store.Records` is what others open; `views` are the shapes that it answers with. Import `store` where it is first needed: it
brings SQLAlchemy with it. A database keeps the history of one cell.
"""
