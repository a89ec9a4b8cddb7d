"""The `amas` command: its options, and what happens to errors. Each command's work lies in a module that loads when it is called.

Only typer is imported at start, so that `amas --help` stays quick; a test on `sys.modules` holds that.

Exit codes (`ExitCode`): 0 done · 1 the goal's workflow failed · 2 the input is wrong (its author must act) · 3 something here
can't be used (the operator must act) · 4 cancelled · 130 interrupted · 141 nobody reads what is printed any more.
"""

from pathlib import Path
from typing import Annotated

import typer
import typer.core

from amas.cli import backup_commands, complete
from amas.cli.access_commands import app as access
from amas.cli.alert_commands import alert_app, run_app, runbooks
from amas.cli.desired_commands import app as operating
from amas.cli.exit import reported
from amas.cli.groups import BySection, Group
from amas.cli.groups import ShowFirst as _ShowFirst
from amas.cli.healing_commands import app as healing
from amas.cli.hook_commands import app as webhooks
from amas.cli.look_commands import app as looking
from amas.cli.model_commands import model_app
from amas.cli.monitoring_commands import app as observing
from amas.cli.options import HomeOption, Json, MetricsPort, Port, Watch
from amas.cli.output import watched
from amas.cli.policy_commands import app as policy_app
from amas.cli.rollout_commands import app as rolling
from amas.cli.seal_commands import seal
from amas.cli.signin_commands import app as signin
from amas.cli.submit_commands import app as submitting
from amas.cli.tool_commands import app as tools

app = typer.Typer(
    name="amas",
    cls=BySection,
    help="Run fleets of AI agents: a goal in plain words in, a checked deliverable out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


FleetOption = Annotated[
    str, typer.Option("--fleet", help="A fleet file, or the name of one that ships with amas.", autocompletion=complete.fleets)
]
KeptFleet = Annotated[
    str,
    typer.Option(
        "--fleet",
        help="A fleet file, or the name of one that ships with amas; by default what was applied here last, else `amas`.",
        autocompletion=complete.fleets,
    ),
]


BY = ("tenant", "workflow", "pool", "agent", "model", "day", "task")
STATES = ("waiting", "queued", "delayed", "running", "succeeded", "failed", "cancelled")


def _version(wanted: bool) -> None:
    if wanted:
        from amas import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Run fleets of AI agents: a goal in plain words in, a checked deliverable out."""


@app.command()
def up(
    fleet: KeptFleet = "",
    home: HomeOption = None,
    port: Port = None,
    metrics_port: MetricsPort = None,
    phase: Annotated[
        str,
        typer.Option("--phase", help="Start agents' stages up to this one, a number or a pool; `amas up` goes on from there."),
    ] = "",
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops the fleet.")] = False,
    json: Json = False,
) -> None:
    """Start a fleet on this machine."""
    from amas.cli import lifecycle

    lifecycle.up(fleet, home, ports=(port, metrics_port), phase=phase, foreground=foreground, as_json=json)


@app.command()
def down(home: HomeOption = None, json: Json = False) -> None:
    """Stop the fleet: finish or hand back what runs, keep everything on disk."""
    from amas.cli import lifecycle

    lifecycle.down(home, as_json=json)


@app.command()
def status(home: HomeOption = None, watch: Watch = False, json: Json = False) -> None:
    """Say what runs here and how it is."""
    from amas.cli import lifecycle

    watched(lambda: lifecycle.status(home, as_json=json), watch=watch)


@app.command()
def doctor(home: HomeOption = None, fleet: FleetOption = "", json: Json = False) -> None:
    """Check this machine and its fleet: settings, fleet file (or the running fleet's), what runs; and say how to mend it."""
    from amas.cli import doctor as module

    module.doctor(home, fleet, as_json=json)


@app.command()
def recover(home: HomeOption = None, json: Json = False) -> None:
    """Put the work of a lost engine back from the history: finished work isn't done again."""
    from amas.cli import recover as module

    module.recover(home, as_json=json)


@app.command()
def run(
    goal: Annotated[str, typer.Argument(help="What you want, in plain words.")],
    input: Annotated[Path | None, typer.Option("--input", "-i", help="The folder that the goal is about.")] = None,  # noqa: A002
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the deliverable goes.")] = None,
    fleet: KeptFleet = "",
    home: HomeOption = None,
    test_timeout: Annotated[
        float | None, typer.Option(min=1, max=86_400, help="Seconds that the project's own tests may take (by default 900).")
    ] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Dollars that the goal may spend.")] = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="Tokens that the goal may use.")] = None,
    agent_seconds: Annotated[float | None, typer.Option(min=0, help="Seconds of agents' time that the goal may take.")] = None,
    deadline: Annotated[float | None, typer.Option(min=1, help="Seconds within which the goal must be met.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit to the running fleet and return at once.")] = False,
    json: Json = False,
) -> None:
    """Have a goal met, and watch the hierarchy at work. Where no fleet runs, one starts for the goal and stops after it."""
    from amas.cli import run as module

    bounds = module.Bounds(budget, tokens, agent_seconds, deadline)
    module.run(module.Request(goal, input, output, fleet, home, test_timeout, bounds, detach, json))


@app.command()
def plan(
    goal: Annotated[str, typer.Argument(help="What you want, in plain words.")],
    input: Annotated[Path | None, typer.Option("--input", "-i", help="The folder that the goal is about.")] = None,  # noqa: A002
    fleet: FleetOption = "amas",
    budget: Annotated[float | None, typer.Option(min=0, help="Dollars that the goal may spend.")] = None,
    json: Json = False,
) -> None:
    """Show how a goal would be met and what it would take, without running it; no fleet need run."""
    from amas.cli import plan as module

    module.plan(module.Asked(goal, input, fleet, budget), as_json=json)


backup_commands.add_to(app)


workflow_app = typer.Typer(cls=_ShowFirst, help="List workflows, show one, start one from a file, or act on one.")
app.add_typer(workflow_app, name="workflows")
WorkflowId = Annotated[str, typer.Argument(metavar="ID", help="The workflow's id.", autocompletion=complete.workflows)]


@workflow_app.command("show")
def show_workflows(
    workflow_id: Annotated[str, typer.Argument(help="Show this one as a tree.", autocompletion=complete.workflows)] = "",
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 20,
    watch: Watch = False,
    json: Json = False,
) -> None:
    """List workflows, or show one; `show` may be left out."""
    from amas.cli import look

    watched(lambda: look.workflows(workflow_id, home, limit=limit, as_json=json), watch=watch)


@workflow_app.command("start")
def start_workflow(
    file: Annotated[Path, typer.Argument(help="A flow: YAML or JSON, as docs/workflows.md describes it.")],
    tenant: Annotated[str, typer.Option(help="Whose work it is, for fair shares.")] = "",
    priority: Annotated[int, typer.Option(min=0, max=3, help="0 low, 1 normal, 2 high, 3 critical.")] = 1,
    deadline: Annotated[float, typer.Option(min=0, help="Seconds after which it fails; 0 takes the fleet's time-out.")] = 0,
    key: Annotated[str, typer.Option(help="An idempotency key: the same flow again under it is the same workflow.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Start the flow in a file."""
    from amas.cli import flows

    flows.start(flows.Start(file, tenant, priority, deadline, key), home, as_json=json)


@workflow_app.command("pause")
def pause_workflow(workflow_id: WorkflowId, home: HomeOption = None, json: Json = False) -> None:
    """Let nothing new of a workflow start; what runs finishes."""
    from amas.cli import flows

    flows.pause(workflow_id, home, as_json=json)


@workflow_app.command("resume")
def resume_workflow(workflow_id: WorkflowId, home: HomeOption = None, json: Json = False) -> None:
    """Go on with a workflow that was paused."""
    from amas.cli import flows

    flows.resume(workflow_id, home, as_json=json)


@workflow_app.command("rerun")
def rerun_workflow(
    workflow_id: WorkflowId,
    task: Annotated[str, typer.Argument(help="The key or the id of the task to begin with.")],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Do a task of a workflow and all that came of it again."""
    from amas.cli import flows

    flows.rerun(workflow_id, task, home, as_json=json)


@workflow_app.command("signal")
def signal_workflow(
    workflow_id: WorkflowId,
    key: Annotated[str, typer.Argument(help="The signal's key.")],
    value: Annotated[str, typer.Argument(help="What to send: JSON, or text.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Send a workflow's signal its value."""
    from amas.cli import flows

    flows.signal(workflow_id, key, value, home, as_json=json)


@app.command()
def approvals(
    workflow: Annotated[str, typer.Option(help="Only this workflow's.", autocompletion=complete.workflows)] = "",
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List what people are asked just now."""
    from amas.cli import flows

    watched(lambda: flows.approvals(workflow, home, as_json=json), watch=watch)


@app.command()
def approve(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="From `amas approvals`.", autocompletion=complete.approvals)],
    refuse: Annotated[bool, typer.Option("--refuse", help="Say no: the approval fails.")] = False,
    by: Annotated[str, typer.Option(help="Who says so.")] = "",
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    score: Annotated[float | None, typer.Option(min=0, max=1, help="What it is worth, where a gate asks.")] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Approve what a workflow asks, or refuse it."""
    from amas.cli import flows

    flows.approve(task_id, flows.Word(not refuse, by, comment, score), home, as_json=json)


quality_app = typer.Typer(cls=_ShowFirst, help="Show how a workflow's work was judged, or check a signed delivery.")
app.add_typer(quality_app, name="quality")


@quality_app.command("show")
def show_quality(workflow_id: WorkflowId, home: HomeOption = None, json: Json = False) -> None:
    """Show each part's rounds: judges, scores, what was sent back; `show` may be left out."""
    from amas.cli import quality

    quality.show(workflow_id, home, as_json=json)


@quality_app.command("verify")
def verify_quality(
    folder: Annotated[Path, typer.Argument(help="The folder of a deliverable.")],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Check that a delivered folder is what the Quality Supervisor signed, with the secret of the fleet's home."""
    from amas.cli import quality

    raise typer.Exit(quality.verify(folder, home, as_json=json))


@app.command("dead-letters")
def dead_letters(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Show this one.", autocompletion=complete.dead_letters)] = "",
    retry: Annotated[bool, typer.Option("--retry", help="Queue it again, with all its retries.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Take it off the list; it stays failed.")] = False,
    workflow: Annotated[str, typer.Option(help="Only this workflow's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 50,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List tasks that failed for good; with an id: show one, put it back, or discard it."""
    from amas.cli import flows

    if task_id:
        flows.dead_letter(task_id, home, retry=retry, discard=discard, as_json=json)
    else:
        flows.dead_letters(workflow, home, limit=limit, as_json=json)


task_app = typer.Typer(cls=_ShowFirst, help="List tasks, show one, or say why one went where it went.")
app.add_typer(task_app, name="tasks")


@task_app.command("show")
def tasks(
    task_id: Annotated[str, typer.Argument(help="Show this one with its attempts.", autocompletion=complete.tasks)] = "",
    workflow: Annotated[str, typer.Option(help="Only this workflow's.")] = "",
    state: Annotated[str, typer.Option(help="Only those in this state.", autocompletion=complete.one_of(*STATES))] = "",
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 50,
    watch: Watch = False,
    json: Json = False,
) -> None:
    """List tasks, or show one."""
    from amas.cli import look

    filters = {"workflow_id": workflow, "state": state}
    watched(lambda: look.tasks(task_id, home, filters=filters, limit=limit, as_json=json), watch=watch)


@task_app.command("why")
def why(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=complete.tasks)],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Say which pool a task went to and why, or what it waits for."""
    from amas.cli import routing

    routing.why(task_id, home, as_json=json)


app.add_typer(rolling, name="rollout")


@app.command()
def routes(home: HomeOption = None, json: Json = False) -> None:
    """Show how tasks are shared among pools that can do the same, and what that rests on."""
    from amas.cli import routing

    routing.routes(home, as_json=json)


@app.command()
def limits(home: HomeOption = None, watch: Watch = False, json: Json = False) -> None:
    """List concurrency keys and providers: what they allow, what is taken, who waits."""
    from amas.cli import limits as module

    watched(lambda: module.limits(home, as_json=json), watch=watch)


@app.command()
def budgets(home: HomeOption = None, json: Json = False) -> None:
    """List budgets: what they allow, what was spent and is reserved."""
    from amas.cli import limits as module

    module.budgets(home, as_json=json)


@app.command()
def costs(
    by: Annotated[str, typer.Option(help=f"{', '.join(BY[:-1])} or {BY[-1]}.", autocompletion=complete.one_of(*BY))] = "day",
    since: Annotated[str, typer.Option(help="An age, such as 24h or 7d, or a date.")] = "",
    until: Annotated[str, typer.Option(help="The same.")] = "",
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 50,
    json: Json = False,
) -> None:
    """Show what work costs: dollars, tokens, requests to models, and agents' time."""
    from amas.cli import costs as module

    module.costs(home, by=by, since=since, until=until, limit=limit, as_json=json)


@app.command()
def cancel(
    an_id: Annotated[str, typer.Argument(metavar="ID", help="A workflow's or a task's id.", autocompletion=complete.works)],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Cancel a workflow or a task; agents at work on it stop within a second."""
    from amas.cli import look

    look.cancel(an_id, home, as_json=json)


message_app = typer.Typer(cls=_ShowFirst, help="Write to agents, look at inboxes and undelivered messages.")
app.add_typer(message_app, name="messages")
AgentArgument = Annotated[
    str, typer.Argument(metavar="AGENT", help="An agent's id, such as code-reviewer-1.", autocompletion=complete.agents)
]
Payload = Annotated[str, typer.Argument(help="What to say: JSON, or text.")]


@message_app.command("show")
def show_messages(home: HomeOption = None, json: Json = False) -> None:
    """Show the state of the bus and the inboxes that hold something; `show` may be left out."""
    from amas.cli import messages

    messages.show(home, as_json=json)


@message_app.command("send")
def send_message(
    recipient: Annotated[str, typer.Argument(help="An agent's id, or pool:, team:, layer:, capability: or topic: and a name.")],
    payload: Payload = "",
    type: Annotated[str, typer.Option(help="What the message is about, such as status or share_context.")] = "status",  # noqa: A002
    priority: Annotated[int, typer.Option(min=0, max=3, help="0 low, 1 normal, 2 high, 3 critical.")] = 1,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Write to agents as the operator."""
    from amas.cli import messages

    messages.send(messages.Written(recipient, payload, type, priority), home, as_json=json)


@message_app.command("ask")
def ask_agent(
    recipient: AgentArgument,
    payload: Payload = "",
    wait: Annotated[float, typer.Option(min=0, max=60, help="Seconds to wait for the answer.")] = 10.0,
    type: Annotated[str, typer.Option(help="What the question is about.")] = "help_request",  # noqa: A002
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Ask an agent as the operator, and print its answer."""
    from amas.cli import messages

    messages.ask(messages.Written(recipient, payload, type), home, wait_s=wait, as_json=json)


@message_app.command("inbox")
def show_inbox(agent_id: AgentArgument, home: HomeOption = None, json: Json = False) -> None:
    """Show how many messages an agent's inbox holds."""
    from amas.cli import messages

    messages.inbox(agent_id, home, as_json=json)


@message_app.command("refused")
def refused_messages(
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List messages that were forged, replayed, too old or forbidden, and reached nobody."""
    from amas.cli import messages

    messages.refused(home, limit=limit, as_json=json)


@message_app.command("dead")
def dead_messages(
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List messages that were handed out too often without a receipt."""
    from amas.cli import messages

    messages.dead(home, limit=limit, as_json=json)


artifacts = typer.Typer(cls=Group, help="Look after values that are too large for the engine.", no_args_is_help=True)
app.add_typer(artifacts, name="artifacts")
app.add_typer(seal, name="seal")


@artifacts.command()
def prune(
    older_than: Annotated[str, typer.Option(help="Keep what was stored within this time: 12h, 30d.")] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Remove artifacts that are old and that no task needs: none that is open, and none that ended within the same time."""
    from amas.cli import artifacts as module

    module.prune_artifacts(home, older_than, dry_run=dry_run, as_json=json)


@app.command()
def schedules(
    name: Annotated[
        str, typer.Argument(help="Show this one, or do to it what the options say.", autocompletion=complete.schedules)
    ] = "",
    pause: Annotated[bool, typer.Option("--pause", help="Let it rest.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let it go on from its next time.")] = False,
    run_now: Annotated[bool, typer.Option("--run", help="Fire it at once.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Forget it; what it submitted goes on.")] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List schedules, show one, pause, resume, fire or drop it."""
    from amas.cli import schedules as module

    acts = {"pause": pause, "resume": resume, "run": run_now, "drop": drop}
    module.schedules(name, home, acts=[act for act, said in acts.items() if said], as_json=json)


@app.command()
def schedule(
    name: Annotated[str, typer.Argument(help="The schedule's name; one that has it gives way.")],
    cron: Annotated[str, typer.Argument(help="When: '0 6 * * MON-FRI', five fields as in crontab, or six with seconds first.")],
    goal: Annotated[str, typer.Option(help="The goal to submit, in plain words.")] = "",
    input: Annotated[Path | None, typer.Option("--input", "-i", help="The folder that the goal is about.")] = None,  # noqa: A002
    task: Annotated[str, typer.Option(help="Instead of a goal: the capability of the task to submit.")] = "",
    task_input: Annotated[str, typer.Option(help="The task's input: JSON, or text.")] = "",
    timezone: Annotated[str, typer.Option(help="Whose clock counts, such as Europe/Berlin.")] = "UTC",
    missed: Annotated[str, typer.Option(help="What missed times mean: once, all or skip.")] = "once",
    overlap: Annotated[str, typer.Option(help="allow, or skip while the last one is still open.")] = "allow",
    tenant: Annotated[str, typer.Option(help="Whose work it is.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Submit a goal or a task again and again, at times that a cron expression names."""
    from amas.cli import schedules as module

    what: dict[str, object] = {"cron": cron, "timezone": timezone, "missed": missed, "overlap": overlap}
    if goal:
        what["goal"] = {"text": goal, "input_dir": str(input.absolute()) if input else "", "tenant": tenant}
    if task:
        what["task"] = {"capability": task, "tenant": tenant}
    module.put(name, home, schedule=what, task_input=task_input, as_json=json)


@app.command()
def host(
    host_id: Annotated[str, typer.Option(help="This host's name in the fleet.")],
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, for pools with a node_selector; repeatable.")] = None,
    home: HomeOption = None,
) -> None:
    """Run one host of a fleet in the foreground (what `amas up` starts)."""
    from amas.platforms.local.host import run_host

    run_host(home, host_id, label or ())


@app.command()
def serve(home: HomeOption = None) -> None:
    """Run the control plane of a fleet in the foreground (what `amas up` starts)."""
    from amas.server.process import run_control_plane

    run_control_plane(home)


app.add_typer(submitting)
app.add_typer(looking)
app.add_typer(alert_app, name="alerts")
app.command()(runbooks)
app.add_typer(run_app, name="runbook")
app.add_typer(webhooks, name="webhooks")
app.add_typer(operating)
app.add_typer(tools)
app.add_typer(healing)
app.add_typer(observing)
app.add_typer(access)
app.add_typer(signin)
app.add_typer(policy_app, name="policy")

app.add_typer(model_app, name="model")


def main() -> None:
    """Run the command line; every expected error is one sentence and an exit code."""
    with reported():
        app(standalone_mode=True)
