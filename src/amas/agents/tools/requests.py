"""Tools that are requests over HTTP.

The agent fills in parameters, never the server: the host stands in the fleet file, and redirects lead to it or to a host that
is declared besides, which gets none of the headers. The address that was looked at is the one that is connected to; a private one
needs `private: true`, and those under which clouds give out a machine's credentials are never called. Nothing is decompressed.
"""

import asyncio
import http.client
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

import msgspec

from amas.agents.pinned import Answer, Pinned
from amas.agents.threads import DaemonThreads
from amas.agents.tools.base import Use, bounded, too_large
from amas.agents.tools.parameters import of_declared
from amas.errors import SecretUnreadable, ToolFailed, ToolMisused
from amas.model.task import Json
from amas.model.tools import ToolCard, ToolSpec, placeholders
from amas.observe.tracing import current
from amas.policy.outbound import allowed, is_public
from amas.secrets import revealed_headers, scrubbed

THREADS = 16
"""Requests of one tool at a time; the others wait, within their time-outs."""
REDIRECTS_MAX = 3
SHOWN_CHARS = 300
"""Of an answer that says no."""
BODILESS = frozenset({"GET", "HEAD", "DELETE"})
"""Methods whose further parameters stand in the query; others have them in a JSON body."""
_DOTS = frozenset({".", ".."})


class RequestTool:
    """One request, filled in."""

    def __init__(self, name: str, spec: ToolSpec) -> None:
        assert spec.http is not None, "an http tool says http"
        self._name, self._spec, self._http = name, spec, spec.http
        self._parameters = of_declared(name, spec.parameters)
        self._in_url = frozenset(placeholders(self._http.url))
        self._threads = DaemonThreads(THREADS, name=f"tool-{name}")

    async def cards(self) -> Sequence[ToolCard]:
        """Return what is declared."""
        return (ToolCard(name=self._name, kind="http", about=self._spec.about, parameters=self._parameters.schema),)

    async def check(self, tool: str, arguments: dict[str, Json]) -> None:
        """Compare them with what is declared; one that would climb in the address's path isn't taken."""
        for name, value in self._parameters.typed(arguments).items():
            if name in self._in_url and str(value) in _DOTS:
                raise ToolMisused(f"the tool {tool} doesn't take {str(value)!r} as {name}: it would climb in the path", tool=tool)

    async def run(self, use: Use) -> Json:
        """Send the request; ToolFailed unless the answer is 2xx. The result is the answer's JSON, or its text."""
        try:
            headers = await asyncio.to_thread(revealed_headers, self._http.headers)
        except SecretUnreadable as error:
            raise ToolFailed(f"the tool {self._name} lacks a secret: {error}", tool=self._name) from error
        url, body = self._filled_in(self._parameters.typed(use.arguments))
        try:
            answer = await self._talk(url, headers, body, use)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = scrubbed(str(error) or type(error).__name__)
            raise ToolFailed(f"the tool {self._name} got no answer: {why}", tool=self._name) from error
        text = scrubbed(answer.body.decode(errors="replace"))
        if not 200 <= answer.status < 300:
            said = " ".join(text.split())[:SHOWN_CHARS]
            raise ToolFailed(f"the tool {self._name} was answered {answer.status}{f': {said}' if said else ''}", tool=self._name)
        return bounded(self._name, _content(answer, text), use.result_bytes_max)

    async def close(self) -> None:
        """Let idle threads end."""
        self._threads.shutdown()

    def _filled_in(self, arguments: dict[str, Any]) -> tuple[str, bytes]:
        """Return the address and the body."""
        values = {name: quote(_text(value), safe="") for name, value in arguments.items() if name in self._in_url}
        url = self._http.url.format(**values)
        rest = {name: value for name, value in arguments.items() if name not in self._in_url}
        if self._http.method not in BODILESS:
            return url, msgspec.json.encode(rest)
        if rest:
            query = urlencode({name: _text(value) for name, value in rest.items()})
            url += f"{'&' if urlsplit(url).query else '?'}{query}"
        return url, b""

    async def _talk(self, url: str, headers: Mapping[str, str], body: bytes, use: Use) -> Answer:
        parts, method = urlsplit(url), self._http.method
        ours = {"accept": "application/json, text/*;q=0.9, */*;q=0.1", "accept-encoding": "identity", "user-agent": "amas"}
        if place := current():
            ours["traceparent"] = place
        if body:
            ours["content-type"] = "application/json"
        said = {**ours, **headers}
        for _ in range(REDIRECTS_MAX + 1):
            answer = await self._once(method, parts, said, body, use)
            if answer.status not in {301, 302, 303, 307, 308}:
                return answer
            target = self._redirected(parts, answer.headers.get("location", ""))
            if answer.status in {301, 302, 303} and method != "HEAD":
                method, body = "GET", b""
            if (target.scheme, target.netloc) != (parts.scheme, parts.netloc):
                said = ours
            parts = target
        raise ToolFailed(f"the tool {self._name} was sent in circles", tool=self._name)

    def _redirected(self, parts: SplitResult, location: str) -> SplitResult:
        """Return where a redirect leads; ToolFailed unless that is a declared host, and no way out of TLS."""
        target = urlsplit(urljoin(parts.geturl(), location))
        declared = {urlsplit(self._http.url).netloc, *self._http.hosts}
        downgraded = parts.scheme == "https" and target.scheme != "https"
        if not location or target.scheme not in {"http", "https"} or target.netloc not in declared or downgraded:
            where = f"{target.scheme}://{target.netloc}" if target.netloc else "nowhere"
            why = f"was redirected to {where}, which isn't declared: add it to its hosts where that is meant"
            raise ToolFailed(f"the tool {self._name} {why}", tool=self._name)
        return target

    async def _once(self, method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes, use: Use) -> Answer:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        looked_up = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        address = str(looked_up[0][4][0])
        reject_address(self._name, host, address, private=self._http.private)
        connection = Pinned(host, port, address, secure=parts.scheme == "https", timeout_s=use.timeout_s)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        try:
            most = use.result_bytes_max
            asking = self._threads.submit(connection.ask, method, target, dict(headers), body, bytes_max=most)
            answer = await asyncio.wrap_future(asking)
        finally:  # cancelled, too: the thread's read ends with its socket
            connection.end()
        if len(answer.body) > use.result_bytes_max:
            raise too_large(self._name, use.result_bytes_max)
        return answer


def reject_address(tool: str, host: str, address: str, *, private: bool) -> None:
    """Raise ToolFailed where a tool may not call an address."""
    if not allowed(address):
        raise ToolFailed(f"the tool {tool} may not call {host}: {address} is a link-local or metadata address", tool=tool)
    if not private and not is_public(address):
        why = f"{address} is no public address: say private: true with the tool where that is meant"
        raise ToolFailed(f"the tool {tool} may not call {host}: {why}", tool=tool)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _content(answer: Answer, text: str) -> Json:
    """Return JSON where the answer is, else its text."""
    if "json" in answer.headers.get("content-type", "").lower():
        try:
            found: Json = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text
        return found
    return text
