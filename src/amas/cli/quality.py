"""`amas quality`: how a workflow's work was judged, and whether a delivered folder is what was signed."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at, quoted
from amas.cli.exit import ExitCode
from amas.cli.output import console, moment, print_json

_WORDS_MAX = 200


def show(workflow_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Print each gate's rounds and who signed the delivery."""
    found = Api.of(home_at(folder)).get(f"/api/workflows/{quoted(workflow_id)}/quality")
    if as_json:
        print_json(found)
        return
    if not found["gates"]:
        console().print("nothing of this workflow was judged: docs/quality.md says how to declare a gate")
        return
    from amas.cli.tree import table

    rows = [row for gate in found["gates"] for row in _rows(gate)]
    console().print(table("", ["part", "round", "judge", "score", "sent back", "done by", "USD", "judged by"], rows))
    if delivery := found["delivery"]:
        how = delivery["signature"] or "not signed: the fleet has no secret"
        verdict = "approved" if delivery["approved"] else "not approved"
        console().print(f"delivery {verdict}, score {delivery['score']:.2f}, by {delivery['signed_by']} ({how})")


def _rows(gate: dict[str, Any]) -> list[list[object]]:
    name = gate["title"] or gate["key"]
    limit = f"/{gate['threshold']:.2f}" if gate["threshold"] is not None else ""
    rows: list[list[object]] = []
    for each in gate["rounds"]:
        for opinion in each["opinions"]:
            score = "-" if opinion["score"] is None else f"{opinion['score']:.2f}{limit}"
            words = "; ".join([*opinion["feedback"], *filter(None, (opinion["note"], each["note"]))])[:_WORDS_MAX]
            usd = opinion["usage"].get("usd")
            by = opinion["by"] or gate["judged_by"]
            rows.append([name, each["round"], opinion["judge"], score, words, ", ".join(each["agents"]), usd, by])
    rows += [
        [name, "up", asked["who"], "yes" if asked["accepted"] else "no", asked["words"][:_WORDS_MAX], "", "", asked["who"]]
        for asked in gate["up"]
    ]
    if not rows:
        rows.append([name, "", "", "", f"{gate['state']}: nothing was judged", "", "", ""])
    elif gate["accepted"] is False:
        rows.append([name, "end", "", "", "passed on below the threshold, marked", "", "", gate["judged_by"]])
    return rows


def verify(delivered: Path, folder: Path | None, *, as_json: bool) -> int:
    """Say whether a delivered folder is what the fleet of a home signed; return the exit code."""
    from amas.platforms.local.secret import message_settings
    from amas.policy.deliveries import look

    found = look(delivered, message_settings(home_at(folder)).secret)
    if as_json:
        print_json(
            {
                "sound": found.sound,
                "signature": found.signature,
                "changed": list(found.changed),
                "missing": list(found.missing),
                "signed_by": found.delivered.signed_by,
                "signed_ms": found.delivered.signed_ms,
                "workflow_id": found.delivered.workflow_id,
                "approved": found.delivered.approved,
                "score": found.delivered.score,
            }
        )
    else:
        for name in found.changed:
            console().print(f"changed since it was signed: {name}", highlight=False)
        for name in found.missing:
            console().print(f"missing: {name}", highlight=False)
        console().print(f"{_SAID[found.signature]} ({found.delivered.signed_by}, {moment(found.delivered.signed_ms)})")
    return 0 if found.sound else int(ExitCode.FAILED)


_SAID = {
    "valid": "the signature is valid",
    "forged": "the signature is not that of this record: it was changed, or another fleet's secret is set here",
    "unsigned": "not signed: its fleet had no secret; the digests alone were compared",
    "unchecked": "signed, but the fleet's secret isn't here: name its home (--home), or set AMAS_MESSAGE_SECRET",
}
