"""The command line's way to the control plane: plain HTTP to the running fleet on this machine.

Built on http.client: an HTTP library would cost every command 100 ms of CPU at start.
"""

import json
import os
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from amas.errors import AmasError, FleetNotRunning
from amas.platforms.local.home import Home
from amas.settings import secret_of

ANSWER_TIMEOUT_S = 30.0


class Refused(AmasError):
    """The control plane said no; its problem's detail is the message."""

    code = "refused"

    def __init__(self, detail: str, *, status: int, kind: str) -> None:
        super().__init__(detail)
        self.status, self.kind = status, kind
        self.act = "author" if status < 500 else "operator"  # type: ignore[misc]


def home_at(folder: Path | None) -> Home:
    """Return the data folder that a command works with."""
    from amas.settings import HomeSettings

    return Home(folder or HomeSettings.read().folder())


def quoted(name: str) -> str:
    """Return what somebody typed as one part of an address, whatever is in it."""
    return quote(name, safe="")


class Api:
    """A client of one fleet's REST API."""

    def __init__(self, url: str, *, key: str = "", certificate: str = "") -> None:
        """`key`: what it shows where AMAS_TOKEN names none; that may be an API key, too. `certificate`: the server's own."""
        parts = urlsplit(url)
        self._certificate = certificate
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        token = secret_of("AMAS_TOKEN", os.environ.get("AMAS_TOKEN", "")) or key
        self._headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    @classmethod
    def of(cls, home: Home) -> "Api":
        """Return a client of the fleet that runs in `home`; FleetNotRunning when none does."""
        from amas.platforms.local.control import fleet_state
        from amas.platforms.local.secret import api_key

        state = fleet_state(home.folder)
        return cls(state.api_url, key=api_key(home), certificate=state.tls_cert)

    def get(self, path: str, **query: object) -> Any:
        """Return the decoded answer of a GET."""
        given = {name: value for name, value in query.items() if value not in ("", None)}
        return self._json("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def all(self, path: str, **query: object) -> Any:
        """Return the decoded answer of a GET of a list with the items of all its pages."""
        whole = self.get(path, **query)
        while cursor := whole["next"]:
            page = self.get(path, **query, cursor=cursor)
            whole["items"] += page["items"]
            whole["next"] = page["next"]
        return whole

    def post(self, path: str, body: object = None, *, headers: dict[str, str] | None = None) -> Any:
        """Return the decoded answer of a POST."""
        return self._json("POST", path, body, headers or {})

    def put(self, path: str, body: object) -> Any:
        """Return the decoded answer of a PUT."""
        return self._json("PUT", path, body)

    def delete(self, path: str) -> Any:
        """Return the decoded answer of a DELETE."""
        return self._json("DELETE", path, None)

    def events(self, path: str, *, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (id, event) of a live stream until the server ends it or the connection breaks."""
        connection = self._connection()
        try:
            headers = {**self._headers, "Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
            response = self._ask(connection, "GET", path, None, headers)
            event_id, data = after, []
            for raw in response:
                line = raw.decode().rstrip("\r\n")
                if line.startswith("id:"):
                    event_id = line[3:].strip()
                elif line.startswith("data:"):
                    data.append(line[5:].lstrip())
                elif not line and data:
                    yield event_id, json.loads("\n".join(data))
                    data = []
        except (OSError, HTTPException):
            return
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if not self._certificate:
            return HTTPConnection(self._host, self._port, timeout=ANSWER_TIMEOUT_S)
        import ssl
        from http.client import HTTPSConnection

        try:
            context = ssl.create_default_context(cafile=self._certificate)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.check_hostname = False  # it is this very certificate that is trusted, whatever its name
            if mine := os.environ.get("AMAS_TLS_CLIENT", ""):
                context.load_cert_chain(mine)
        except OSError as error:
            why = f"{error.filename or self._certificate} can't be read as certificates: {error.strerror or error}"
            raise FleetNotRunning(f"the fleet's API speaks TLS, and {why}") from error
        return HTTPSConnection(self._host, self._port, timeout=ANSWER_TIMEOUT_S, context=context)

    def _json(self, method: str, path: str, body: object, more: dict[str, str] | None = None) -> Any:
        connection = self._connection()
        try:
            headers = {**self._headers, **(more or {})}
            payload = None
            if body is not None:
                payload = json.dumps(body).encode()
                headers["Content-Type"] = "application/json"
            return json.loads(self._ask(connection, method, path, payload, headers).read() or b"null")
        except (OSError, HTTPException) as error:
            raise FleetNotRunning(
                f"the fleet's API at {self._host}:{self._port} doesn't answer: {error or type(error).__name__}"
            ) from error
        finally:
            connection.close()

    def _ask(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> HTTPResponse:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        if response.status >= 400:
            try:
                problem = json.loads(response.read())
            except ValueError:
                problem = {}
            raise Refused(
                problem.get("detail") or problem.get("title") or f"the API answered {response.status} to {method} {path}",
                status=response.status,
                kind=str(problem.get("type", "")),
            )
        return response
