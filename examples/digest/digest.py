"""Build the digest as a flow, start it, say yes to it, and print what came of it."""

import asyncio

from amas import Fleet, Workflow


def digest() -> Workflow:
    flow = Workflow("digest", output="announce")
    pages = flow.task("fetch", "digest.fetch")
    lines = flow.map("summarise", over=pages, capability="digest.summarise", on_failure="skip", at_once=2)
    text = flow.task("merge", "digest.merge", needs=lines, when="needs.summarise[?@]")
    ok = flow.approval("release", "Publish this digest?", needs=text, expires_s=3600)
    out = flow.task("publish", "digest.publish", needs=[text, ok], undo=("digest.withdraw",))
    flow.task("announce", "digest.announce", {"to": "everybody"}, needs=out)
    return flow


async def main() -> None:
    async with Fleet.connect() as fleet:
        workflow = await fleet.start(digest(), tenant="press", idempotency_key="digest of monday")
        await workflow.approve("release", by="ada")  # kept until the digest is there to be released
        print(await workflow.result())
        print((await workflow.results())["merge"])


if __name__ == "__main__":
    asyncio.run(main())
