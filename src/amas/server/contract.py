"""OpenAPI from the same structs that are encoded: what a route answers, with an example, and which problems it may answer.

Routes name their shapes here; `openapi_of` puts the schemas of all of them into the document. FastAPI's own models aren't used,
so that one declaration serves the wire and the documentation.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.responses import Response

from amas.model.artifact import is_reference, shown
from amas.server import once, shared
from amas.server.access import MAY, rule_for
from amas.server.bodiless import BODILESS
from amas.server.identity import COOKIE
from amas.server.problems import MEDIA_TYPE, Problem, problem

VERSION = version("amas")

SHAPES: dict[str, type] = {}
"""What routes take and answer, by name: each comes in as its route names it, so the document has the schemas of all."""

PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("body_malformed", "the body can't be read: Input data was truncated"),
    401: ("token_needed", "send an API key or the fleet's token as `Authorization: Bearer <AMAS_TOKEN>`"),
    403: ("origin_refused", "a web page of another origin may not use this server"),
    404: ("task_unknown", "there is no task '0198...', neither in the engine nor in the records"),
    408: ("request_overdue", "the body came too slowly: send it again, or in smaller parts"),
    409: ("task_failed", "the project's tests could not be collected"),
    410: (
        "artifact_missing",
        "the artifact sha256:... isn't in the store /home/me/.amas/artifacts: it was removed, or is in another store",
    ),
    412: ("desired_changed", "ann applied another fleet meanwhile (revision 12: the sale): look at the difference again"),
    413: ("body_too_large", "the body is larger than 32 MiB: send fewer tasks at a time"),
    415: ("media_type_unknown", "send application/json"),
    421: ("host_refused", "this server answers to localhost only; the Host header names something else"),
    422: ("request_invalid", "Object missing required field `capability`"),
    429: ("queue_full", "the queue 'code-reviewer' holds 1000 tasks and takes at most 1000, so 1 more don't fit"),
    500: ("internal_error", "something went wrong here; the control plane's log says what"),
    504: ("reply_overdue", "code-reviewer-1 didn't answer message 0198... within 10 s"),
    503: ("engine_unreachable", "the engine at unix:///home/me/.amas/engine/engine.sock doesn't answer"),
}
TAG = {"ETag": {"description": "Of this answer.", "schema": {"type": "string"}}}
CREDENTIALS = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, the fleet's token, what `amas login` got for a person, or an agent's own token (a JWT).",
    },
    "signed_in": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A browser that has signed in."},
    "session": {
        "type": "http",
        "scheme": "bearer",
        "description": "What came when agents that run elsewhere were registered (`POST /api/remote/sessions`).",
    },
}
"""What callers may show. On loopback, while no key was made and no token set, nobody need show anything."""
EVERYWHERE = (401, 403, 408, 421, 422, 500)
"""Any route behind the guard may answer these; 422 where its query has a name that it doesn't take."""


def _reference(value: object) -> object:
    if not is_reference(value):
        raise TypeError(f"{type(value).__name__} is no JSON value")
    return shown(value)


_json = msgspec.json.Encoder(enc_hook=_reference).encode


def encoded(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the response that carries a shape; a reference within it to a large value is an object of its own."""
    return Response(_json(value), status, headers, "application/json")


def reference(shape: type) -> dict[str, str]:
    """Return where the document has a shape's schema, and see to it that it has."""
    assert SHAPES.setdefault(shape.__name__, shape) is shape, f"two shapes are called {shape.__name__}"
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def content(shape: type, example: object) -> dict[str, Any]:
    """Return a body of one shape as OpenAPI says it."""
    return {"application/json": {"schema": reference(shape), "example": msgspec.to_builtins(example)}}


def answers(
    shape: type,
    example: object,
    *,
    status: int = 200,
    problems: tuple[int, ...] = (),
    also: dict[int, str] | None = None,
    tagged: bool = False,
) -> dict[str, Any]:
    """Return the keyword arguments of a route that answers `shape`, or one of the problems.

    `also`: further statuses with the same shape, each with what it means. `tagged`: the answer has an `ETag`.
    """
    meanings = {status: _first_line(shape), **(also or {})}
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": meaning, "content": content(shape, example), **({"headers": TAG} if tagged else {})}
        for code, meaning in meanings.items()
    }
    return {"response_class": Response, "status_code": status, "responses": {**responses, **refusals(*problems)}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer, with those that any may."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *EVERYWHERE}):
        code, detail = PROBLEMS[status]
        example = msgspec.to_builtins(problem(status, code, detail))
        found[status] = {
            "description": example["title"],
            "content": {MEDIA_TYPE: {"schema": reference(Problem), "example": example}},
        }
        if status in (429, 503):
            found[status]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found


def takes(shape: type, example: object, **more: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` for a route with a JSON body; `more` adds media types, `_` standing for `/`."""
    return {"requestBody": {"required": shape not in BODILESS, "content": {**content(shape, example), **more}}}


BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
"""A body that is a file."""


def takes_bytes(what: str) -> dict[str, Any]:
    """Return `openapi_extra` for a route whose body is a file."""
    return {"requestBody": {"required": True, "description": what, "content": BYTES}}


def _first_line(shape: type) -> str:
    return (shape.__doc__ or "").strip().splitlines()[0]


def _tell_of_callers(document: dict[str, Any]) -> None:
    """Say of every operation who may use it, and what to show where that is another credential than everywhere."""
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            right = rule_for(method.upper(), path).right
            told["x-amas-roles"] = sorted(MAY[right])
            if right in ("open", "session"):
                told["security"] = [{"session": []}] if right == "session" else []


def _tell_of_keys(document: dict[str, Any]) -> None:
    """Say of every POST that takes an `Idempotency-Key` that it does."""
    for path, methods in document["paths"].items():
        if "post" in methods and once.takes_key(path):
            methods["post"].setdefault("parameters", []).append(once.HEADER)
            methods["post"]["responses"].setdefault("409", refusals(409)[409])


def _tell_of_tags(document: dict[str, Any]) -> None:
    """Say of every read whose answer is shared that it has an `ETag`, and that it needn't be sent again."""
    for path in shared.PATHS & document["paths"].keys():
        told = document["paths"][path]["get"]
        told.setdefault("parameters", []).append(shared.HEADER)
        told["responses"]["200"]["headers"] = TAG
        told["responses"]["304"] = {"description": "It is as `If-None-Match` says."}


def openapi_of(app: FastAPI, routers: Sequence[APIRouter], *, locked: bool) -> Callable[[], dict[str, Any]]:
    """Return what `app.openapi` is to be: FastAPI's document with our schemas and bodies. `locked`: a token is asked for."""

    def whole(document: dict[str, Any]) -> None:
        """Put our bodies back as they were declared: FastAPI drops every null, those of examples too."""
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute):
                    for method in route.methods or ():
                        told = document["paths"][route.path_format][method.lower()]["responses"]
                        for status, response in route.responses.items():
                            told[str(status)].update(response)

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, openapi_version="3.1.0", description=app.description, routes=app.routes
            )
            _, components = msgspec.json.schema_components(SHAPES.values(), ref_template="#/components/schemas/{name}")
            parameters = document.get("components", {}).get("schemas", {})  # the enumerations that queries take
            document["components"] = {"schemas": {**parameters, **components}}
            document["components"]["securitySchemes"] = CREDENTIALS
            document["security"] = [*([] if locked else [{}]), {"token": []}, {"signed_in": []}]
            whole(document)
            _tell_of_callers(document)
            _tell_of_keys(document)
            _tell_of_tags(document)
            app.openapi_schema = document
        return app.openapi_schema

    return build
