"""The same 10,000 tasks on the queues that somebody might use instead, beside amas, in one run on one machine.

Every peer runs in an environment of its own (`environments.py`), on a server of its own with the same settings (`servers.py`),
set up as its documentation recommends for speed: `apps/with_NAME.py` is its worker and its driver. A task carries 278 bytes and
its result is kept. All of them keep tasks and results on disk here: Valkey fsyncs every write, and so does PostgreSQL.
"""
