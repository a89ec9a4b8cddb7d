"""Signing in with an organisation's account: a browser goes to the provider and comes back, a command brings what it got there.

See docs/access.md.
"""

from collections.abc import Awaitable
from html import escape
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from amas.errors import AmasError, SignInRefused
from amas.model.access import PERSON_MARK, Role
from amas.server import intake
from amas.server.access_shapes import CommandSignIn, NewTokens, PersonShape
from amas.server.contract import encoded
from amas.server.identity import COOKIE, COOKIE_S, PERSON_S, Caller
from amas.server.oidc import CALLBACK, Person
from amas.server.pages import SAFE
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal, of_error

router = APIRouter(include_in_schema=False)  # browsers are sent here; programs have no use for it

LOGIN = "amas_login"
"""The cookie of a sign-in under way."""
LOGIN_S = 600
NOT_IN = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>amas</title>
<h1>You aren't signed in</h1>
<p>{why}</p>
<p><a href="/auth/login">Sign in again</a>, or go back to <a href="/">the page</a>.</p>
</html>
"""
NO_ROLE: Role = ""  # type: ignore[assignment]  # in the audit, of one who isn't let in


@router.get("/auth/login")
async def login(
    request: Request,
    plane: Plane,
    next: Annotated[str, Query(max_length=600, description="Where on the page to go then.")] = "/",  # noqa: A002  the usual word
) -> Response:
    """Send a browser to the organisation's provider, where people sign in."""
    _check(plane)
    return await _readable(request, _to_the_provider(plane, next))


@router.get(CALLBACK)
async def callback(request: Request, plane: Plane) -> Response:
    """Let a browser in that comes back from the provider, with a new session, and send it to the page."""
    _check(plane)
    return await _readable(request, _to_the_page(request, plane))


@router.get("/auth/commands")
async def about_commands(plane: Plane) -> Response:
    """Say with which provider commands sign people in: `amas login` asks."""
    _check_commands(plane)
    people = plane.people
    return encoded(CommandSignIn(issuer=people.issuer, client_id=people.commands, scopes=people.scopes))


@router.post("/auth/commands")
async def let_command_in(request: Request, plane: Plane) -> Response:
    """Let a command in that brings the provider's tokens, for a quarter of an hour; then it asks the provider anew."""
    _check_commands(plane)
    given = await intake.read_one(request, NewTokens)
    caller = _let_in(request, plane, await plane.people.vouched(given.id_token, given.access_token))
    token = await plane.identity.sign_in(caller, mark=PERSON_MARK, lasts_s=PERSON_S)
    said = PersonShape(token=token, lasts_s=PERSON_S, name=caller.name, role=caller.role, tenant=caller.tenant)
    return encoded(said, 200, {"cache-control": "no-store"})


async def _to_the_provider(plane: ControlPlane, path: str) -> Response:
    begun = await plane.people.begin(path)
    answer = _sent_to(begun.url)
    answer.set_cookie(LOGIN, begun.cookie, LOGIN_S, path="/auth", httponly=True, samesite="lax", secure=plane.people.secure)
    return answer


async def _to_the_page(request: Request, plane: ControlPlane) -> Response:
    person = await plane.people.finish(request.query_params, request.cookies.get(LOGIN, ""))
    caller = _let_in(request, plane, person)
    answer = _sent_to(person.path)
    answer.delete_cookie(LOGIN, path="/auth", httponly=True, samesite="lax")
    secret, secure = await plane.identity.sign_in(caller), plane.people.secure
    answer.set_cookie(COOKIE, secret, max_age=round(COOKIE_S), httponly=True, samesite="strict", secure=secure)
    return answer


async def _readable(request: Request, answer: Awaitable[Response]) -> Response:
    """Return an answer; what a browser is refused for is told to the person who sits there, and not as to a program."""
    try:
        return await answer
    except AmasError as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        found = of_error(error)
        page = NOT_IN.format(why=escape(found.detail))
        return HTMLResponse(page, found.status, {**SAFE, "cache-control": "no-store"})


def _let_in(request: Request, plane: ControlPlane, person: Person) -> Caller:
    """Return a person as a caller; SignInRefused for one to whom nothing was granted."""
    grant = person.grant
    caller = Caller(
        name=person.name,
        role=grant.role if grant else NO_ROLE,
        tenant=grant.tenant if grant else "",
        kind="oidc",
        credential=plane.people.credential,
    )
    request.scope["state"]["caller"] = caller  # for the audit, also of one who isn't let in
    if grant is None:
        raise SignInRefused(f"{person.name} is in no group that may use this fleet: ask who sets AMAS_OIDC_ROLES")
    return caller


def _check_commands(plane: ControlPlane) -> None:
    _check(plane)
    if not plane.people.commands:
        why = "commands can't sign in here: AMAS_OIDC_CLI_CLIENT_ID must name a public client of the provider"
        raise Refusal(Fault(detail=why), status=404, code="oidc_off")


def _check(plane: ControlPlane) -> None:
    if not plane.people.on:
        why = "people sign in here with API keys: AMAS_OIDC_ISSUER names no provider"
        raise Refusal(Fault(detail=why), status=404, code="oidc_off")


def _sent_to(url: str) -> RedirectResponse:
    return RedirectResponse(url, 302, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
