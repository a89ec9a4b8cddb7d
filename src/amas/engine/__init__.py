"""The only code that talks to Valkey: server-side functions, their client, the embedded server."""
