"""The command line's way to the control plane: to the running fleet on this machine, or to the one that AMAS_URL names.

Built on http.client: an HTTP library would cost every command 100 ms of CPU at start.
"""

import json
import os
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from amas.errors import AmasError, FleetNotRunning, SettingInvalid
from amas.errors.tls import tls_words
from amas.platforms.local.home import Home
from amas.variables import secret_of

ANSWER_TIMEOUT_S = 30.0
HERE, ELSEWHERE = "`amas status` says what runs here", "AMAS_URL says that it is there"
"""What to do about a control plane that doesn't answer."""
NOBODY = "the fleet wants to know who asks: show an API key with AMAS_TOKEN, or sign in with `amas login`"


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


def elsewhere(home: Home) -> str:
    """Return the address of the fleet that AMAS_URL names, "" where the one in `home` is meant.

    AMAS_URL counts for the data folder that commands take by themselves: who names another means that.
    """
    return os.environ.get("AMAS_URL", "") if home.folder == home_at(None).folder else ""


def quoted(name: str) -> str:
    """Return what somebody typed as one part of an address, whatever is in it."""
    return quote(name, safe="")


class Api:
    """A client of one fleet's REST API."""

    def __init__(
        self,
        url: str,
        *,
        key: str | Callable[[], str] = "",
        certificate: str = "",
        mend: str = HERE,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """`key`: what it shows where AMAS_TOKEN names none, which may be an API key, too, or what gives one for each request.

        `certificate`: the server's own; without one, an https server's must be one that this machine trusts. `mend`: what to do
        where nobody answers, or somebody else. `timeout_s`: the longest silence.
        """
        self._mend, self._timeout_s = mend, timeout_s
        parts = urlsplit(url)
        self._tls, self._certificate = parts.scheme == "https", certificate
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if self._tls else 80)
        token = secret_of("AMAS_TOKEN", os.environ.get("AMAS_TOKEN", "")) or key
        if isinstance(token, str) and not (token.isascii() and token.isprintable() and " " not in token):
            raise SettingInvalid("AMAS_TOKEN must be one key or token: visible ASCII characters in one line, without spaces")
        self._key = token if callable(token) else lambda: token

    @property
    def _headers(self) -> dict[str, str]:
        token = self._key()
        return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    @classmethod
    def of(cls, home: Home, *, timeout_s: float = ANSWER_TIMEOUT_S) -> "Api":
        """Return a client of the fleet that runs in `home`, or that AMAS_URL names; FleetNotRunning when there is none."""
        if url := elsewhere(home):
            from functools import partial

            from amas.signin.session import address, token

            return cls(address(url), key=partial(token, address(url)), mend=ELSEWHERE, timeout_s=timeout_s)
        from amas.platforms.local.control import fleet_state
        from amas.platforms.local.secret import api_key

        state = fleet_state(home.folder)
        return cls(state.api_url, key=api_key(home), certificate=state.tls_cert, timeout_s=timeout_s)

    def get(self, path: str, **query: object) -> Any:
        """Return the decoded answer of a GET."""
        given = {name: value for name, value in query.items() if value not in ("", None)}
        return self._json("GET", f"{path}?{urlencode(given, doseq=True)}" if given else path, None)

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

    def send(self, path: str, content: bytes) -> None:
        """PUT bytes as they are."""
        self._exchange("PUT", path, content, {"Content-Type": "application/octet-stream"})

    def fetch(self, path: str) -> bytes:
        """Return the answer of a GET as it is."""
        return self._exchange("GET", path, None, {"Accept": "*/*"})

    def events(self, path: str, *, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (id, event) of a live stream until the server ends it, the connection breaks or is silent for too long."""
        connection = self._connection(timeout_s=ANSWER_TIMEOUT_S)  # of servers' heartbeats, not of answers
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

    def _connection(self, *, timeout_s: float = 0.0) -> HTTPConnection:
        timeout_s = timeout_s or self._timeout_s
        if not self._tls:
            return HTTPConnection(self._host, self._port, timeout=timeout_s)
        from http.client import HTTPSConnection

        if self._certificate:
            from amas.programs.trust import trusting

            return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=trusting(self._certificate))
        from amas.signin.session import trusted

        return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=trusted())

    def _json(self, method: str, path: str, body: object, more: dict[str, str] | None = None) -> Any:
        payload = None if body is None else json.dumps(body).encode()
        answer = self._exchange(
            method, path, payload, {**(more or {}), **({} if payload is None else {"Content-Type": "application/json"})}
        )
        try:
            return json.loads(answer or b"null")
        except ValueError as error:
            raise self._stranger() from error

    def _exchange(self, method: str, path: str, payload: bytes | None, headers: dict[str, str]) -> bytes:
        """Return an answer's body."""
        connection = self._connection()
        try:
            return self._ask(connection, method, path, payload, {**self._headers, **headers}).read()
        except (OSError, HTTPException) as error:
            raise self._unanswered(error) from error
        finally:
            connection.close()

    def _unanswered(self, error: OSError | HTTPException) -> FleetNotRunning:
        trusted_by = f"AMAS_TLS_CERT, which was {self._certificate} at its start" if self._certificate else "SSL_CERT_FILE"
        if self._tls and (words := tls_words(error, trusted_by=trusted_by, shown_by="AMAS_TLS_CLIENT")):
            return FleetNotRunning(f"the fleet's API at {self._host}:{self._port} can't be used: {words}")
        why = f"not within {self._timeout_s:g} s" if isinstance(error, TimeoutError) else _plainly(error)
        return FleetNotRunning(f"the fleet's API at {self._host}:{self._port} doesn't answer ({why}): {self._mend}")

    def _stranger(self, how: str = "") -> FleetNotRunning:
        return FleetNotRunning(f"what answers at {self._host}:{self._port} isn't a fleet's API{how}: {self._mend}")

    def _ask(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> HTTPResponse:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        if response.status >= 400:
            try:
                problem = json.loads(response.read())
            except ValueError:
                problem = None
            if not isinstance(problem, dict):
                raise self._stranger(f" (it answers {method} {path} with {response.status})")
            if response.status == 401 and "Authorization" not in headers:
                raise Refused(NOBODY, status=401, kind=str(problem.get("type", "")))
            raise Refused(
                _detail(problem) or problem.get("title") or f"the API answered {response.status} to {method} {path}",
                status=response.status,
                kind=str(problem.get("type", "")),
            )
        return response


def _plainly(error: OSError | HTTPException) -> str:
    """Return an error without its number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _detail(problem: dict[str, Any]) -> str:
    """Return what a problem says, with the field of a body that can't be taken, where it is about one."""
    detail, faults = str(problem.get("detail") or ""), problem.get("errors")
    match faults:
        case [{"pointer": str(pointer)}] if (field := pointer.rpartition("/")[2]).isidentifier() and field not in detail:
            return f"{field}: {detail}"
    return detail
