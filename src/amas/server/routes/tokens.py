"""Agents' tokens: the keys to check them with, replacing those, and revoking what agents have (docs/access.md)."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from amas.core.signing import KEY_SET_AGE_S
from amas.model.token import SigningKey
from amas.policy.agent_tokens import public_jwk
from amas.server import intake
from amas.server.access_shapes import KeySetShape, NewRotation, PublicKeyShape, RevokedTokens
from amas.server.contract import answers, encoded, takes
from amas.server.plane import Plane
from amas.server.routes.kill import check_there

router = APIRouter(tags=["access"])

_KEYS = KeySetShape(
    keys=[
        PublicKeyShape(
            kty="OKP", crv="Ed25519", x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid="kPr...", alg="Ed25519", use="sig"
        )
    ]
)
_REVOKED = RevokedTokens(name="coder-3", epoch=1)


@router.get(
    "/.well-known/jwks.json", summary="Get the keys to check agents' tokens with", **answers(KeySetShape, _KEYS, problems=(503,))
)
async def key_set(plane: Plane) -> Response:
    """Return the public keys, for whoever is shown an agent's token; there are none before the first one."""
    published = _key_set(await plane.tokens.published())
    return encoded(published, headers={"cache-control": f"public, max-age={KEY_SET_AGE_S}"})


@router.post(
    "/api/signing-keys/rotate",
    summary="Replace the keys that sign agents' tokens",
    openapi_extra=takes(NewRotation, NewRotation()),
    **answers(KeySetShape, _KEYS, problems=(400, 413, 415, 422, 503)),
)
async def rotate(request: Request, plane: Plane) -> Response:
    """Sign with new keys, and return all that count; tokens of the old ones count until they expire, or not at all."""
    said = await intake.read_one(request, NewRotation)
    return encoded(_key_set(await plane.tokens.rotate(at_once=said.at_once)))


@router.delete(
    "/api/tokens/{name}", summary="Revoke agents' tokens", **answers(RevokedTokens, _REVOKED, problems=(404, 422, 503))
)
async def revoke(
    name: Annotated[str, Path(max_length=200, description="An agent, such as `coder-3`, or a pool.")], plane: Plane
) -> Response:
    """Let no token that an agent, or any of a pool, has count from now on; it may ask for new ones."""
    agent = name if name.rpartition("-")[2].isdigit() else ""
    await check_there(plane, await plane.desired.read(), agent=agent, pool="" if agent else name)
    return encoded(RevokedTokens(name=name, epoch=await plane.tokens.kept.revoke(name)))


def _key_set(keys: list[SigningKey]) -> KeySetShape:
    return KeySetShape(keys=[PublicKeyShape(**public_jwk(key)) for key in keys])
