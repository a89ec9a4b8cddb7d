"""A client of the REST API, sync and async, typed throughout.

    with amas.rest.Client("https://fleet.example", token=...) as client:
        task = client.tasks.submit(capability="development.code_review", input={"path": "src"})
        print(client.tasks.result(task.id, wait=30).result)
        for failed in client.each(client.tasks.list, state="failed"):
            print(failed.title, failed.failure)

`AsyncClient` has the same operations, awaited. docs/api.md has more.
"""

from amas.rest.client import AsyncClient, Client
from amas.rest.problems import Busy, Conflict, Forbidden, Gone, Invalid, NotFound, RestError, Unreachable

__all__ = ["AsyncClient", "Busy", "Client", "Conflict", "Forbidden", "Gone", "Invalid", "NotFound", "RestError", "Unreachable"]
