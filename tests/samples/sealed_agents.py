"""A coordinator and a writer that uses a secret, and says it by mistake wherever it can."""

from amas import Context, GiveUp, SubTask, agent

LARGE = 70 << 10


@agent("executive.coordinate")
async def lead(task: Context) -> dict[str, object]:
    """Have the goal's text written by the other, in a small part and in a large one."""
    text = task.input["text"]
    parts = [
        SubTask(key="small", capability="text.write", input={"text": text}),
        SubTask(key="large", capability="text.write", input={"text": text * (LARGE // len(text) + 1)}),
        SubTask(key="apart", capability="text.apart", input={"text": text}),
        SubTask(key="fails", capability="text.fail", input=text, on_failure="skip"),
    ]
    done = await task.spawn(parts)
    small, apart = done["small"].result, done["apart"].result
    return {"goal": text, "wrote": small, "apart": apart, "large": len(str(done["large"].result))}


@agent("text.write", "text.apart")
async def write(task: Context) -> dict[str, object]:
    """Write with a key from a vault."""
    key = task.options["api_key"].reveal()
    task.log.info(f"writing with {key}", options=task.options, key=key)
    task.progress(0.5, f"with {key}")

    async def think() -> str:
        return f"thought of {task.input['text']}"

    thought = await task.step("think", think)
    artifact = task.artifacts.put(f"an artifact about {task.input['text']}".encode())
    return {"text": thought, "artifact": artifact, "key": f"{task.options['api_key']}", "chars": len(key)}


@agent("text.tell")
async def tell(task: Context) -> None:
    """Say a word of its own in each place where an agent may say one, and wait for ever."""
    said = task.input
    task.progress(0.5, said["note"])
    task.log.info(said["log"])
    await task.step("told", lambda: said["step"])
    (task.workspace / "told").write_text(said["workspace"])
    await task.step("asked", lambda: said["step"])
    raise GiveUp(said["failure"])


@agent("text.fail")
async def fail(task: Context) -> None:
    """Raise an error that says the key."""
    raise ValueError("the server refused " + task.options["api_key"].reveal())
