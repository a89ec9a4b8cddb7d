"""The agents of the digest: no network, so that the example runs anywhere."""

from amas import Context, GiveUp, agent

FEED = [
    {"title": "Engines", "text": "Engines turn heat into motion. They are everywhere."},
    {"title": "Spam", "text": ""},
    {"title": "Valves", "text": "Valves let flow pass or stop it. A key turns them."},
]


@agent("digest.fetch")
async def fetch(task: Context) -> list[dict[str, str]]:
    return FEED


@agent("digest.summarise")
async def summarise(task: Context) -> str:
    if not task.input["text"]:
        raise GiveUp(f"{task.input['title']} is empty")
    return f"{task.input['title']}: {task.input['text'].split('.')[0]}."


@agent("digest.merge")
async def merge(task: Context) -> str:
    return "\n".join(line for line in task.results["summarise"] if line)


@agent("digest.publish")
async def publish(task: Context) -> dict[str, str]:
    return {"published": task.results["merge"]}


@agent("digest.withdraw")
async def withdraw(task: Context) -> str:
    return f"withdrew {len(task.results['publish']['published'])} characters"


@agent("digest.announce")
async def announce(task: Context) -> str:
    return f"sent to {task.input['to']}"
