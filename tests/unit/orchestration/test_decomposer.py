"""What goals mean: wordings, and the parts that they ask for."""

import pytest

from amas.core.plan import problems
from amas.errors import InputUnusable, NoPlaybook
from amas.model.goal import Goal, Plan
from amas.model.states import Layer
from amas.orchestration.decomposer import rules_plan
from amas.orchestration.planner import FleetFacts
from amas.orchestration.playbooks import load_playbooks

PLAYBOOKS = tuple(load_playbooks())
FACTS = FleetFacts(capabilities=frozenset().union(*(each.capabilities for each in PLAYBOOKS)), playbooks=PLAYBOOKS)
ALL = "profile review tests metrics api compliance"


def planned(text: str, input_dir: str = "/in", facts: FleetFacts = FACTS) -> Plan:
    plan = rules_plan(Goal(text=text, input_dir=input_dir, output_dir="/out"), facts)
    assert problems(plan, capabilities=facts.capabilities, limits=facts.limits) == []
    return plan


def work(plan: Plan) -> dict[str, list[str]]:
    leads = [task for task in plan.tasks if task.layer is Layer.MANAGEMENT and "phase" in task.input]
    return {task.key: [each["capability"] for each in task.input["phase"]["work"]] for task in leads}


@pytest.mark.requirement("A1")
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Review the code in /in, run its tests, document its API and write a report", "review tests api"),
        ("Write a report, document the API, run the tests and review the code", "review tests api"),
        ("review the code in /in and document its api", "review api"),
        ("Review the code in src, document its API, check its licences and write a report", "review api compliance"),
        ("RUN THE TESTS. REVIEW THE CODE.", "review tests"),
        ("please could you run the unit tests", "tests"),
        ("Execute the test suite", "tests"),
        ("Do the tests pass?", "tests"),
        ("run pytest", "tests"),
        ("test it", "tests"),
        ("Audit the source", "review"),
        ("Inspect the code", "review"),
        ("Check the code", "review"),
        ("Look over the code", "review"),
        ("Have a look at the source code", "review"),
        ("Do a code review", "review"),
        ("Perform static analysis", "review"),
        ("Find bugs", "review"),
        ("lint the code", "review"),
        ("What is wrong with the code?", "review"),
        ("Write API docs", "api"),
        ("Generate the API reference", "api"),
        ("Document the package", "api"),
        ("Document the functions and classes", "api"),
        ("Write documentation for the library", "api"),
        ("Check the licences", "compliance"),
        ("Check licenses and dependencies", "compliance"),
        ("Which dependencies are unused?", "review compliance"),
        ("Verify the licensing", "compliance"),
        ("Measure the code: metrics and maintainability", "metrics"),
        ("Compute code metrics", "metrics"),
        ("Describe the architecture of the package", "metrics"),
        ("Show me the hotspots", "review metrics"),
        ("Security audit", "review"),
        ("Is the code secure?", "review"),
        ("Find dead code and vulnerabilities", "review"),
        ("Review this project", ALL),
        ("Audit the repo", ALL),
        ("Audit the whole repository and write a report", ALL),
        ("Full review", ALL),
        ("Analyse this code base", ALL),
        ("Check everything", ALL),
        ("Review /in", ALL),
        ("Write a report about this project", ALL),
        ("How healthy is this codebase", ALL),
        # what is not wanted
        ("Review this project, but don't run the tests", "profile review metrics api compliance"),
        ("Review this project, do not run the tests", "profile review metrics api compliance"),
        ("Review this project without running the tests", "profile review metrics api compliance"),
        ("Review the project. No tests.", "profile review metrics api compliance"),
        ("Review the project; skip tests and documentation", "profile review metrics compliance"),
        ("Review the project without tests, licences, dependencies or API docs", "profile review metrics api"),
        ("Check everything except the tests and compliance", "profile review metrics api"),
        ("Everything but the tests", "profile review metrics api compliance"),
        ("Review everything but skip the tests", "profile review metrics api compliance"),
        ("Review the code and write tests", "review"),
        ("Run the tests and write a report on the tests", "tests"),
        ("Review the project, leave the tests out", "profile review metrics api compliance"),
        ("Review this project. The tests need not be run.", "profile review metrics api compliance"),
        ("Review the project, excluding metrics", "profile review tests api compliance"),
        ("Review the code but skip the tests and document the API", "review api"),
        ("Without running the tests, review the code", "review"),
        ("Never run the tests, just review the code", "review"),
        # what alone is wanted
        ("Only run the tests", "tests"),
        ("Run the tests, nothing else", "tests"),
        ("Run the tests only", "tests"),
        ("Review the project, but only its security", "review"),
        ("Just document the API", "api"),
        ("Nothing but the licences", "compliance"),
        # what sounds like a negation and isn't
        ("Don't forget to run the tests", "tests"),
        ("Not only review the code but also run its tests", "review tests"),
        # typing errors
        ("Reveiw the code and run its tsets", "review tests"),
        ("Revew the code, docuemnt its API", "review api"),
        ("Review this project wihtout tests", "profile review metrics api compliance"),
        ("check the dependancies and lisences", "compliance"),
    ],
)
def test_wordings(text: str, parts: str) -> None:
    assert list(work(planned(text))) == parts.split()


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        ("Find dead code", {"development.dead_code"}),
        ("Check the code for security problems", {"development.security"}),
        ("Check type hints, error handling", {"development.typing", "development.exceptions"}),
        ("Check licences", {"compliance.licences"}),
        ("Third-party requirements", {"compliance.dependencies"}),
        ("Are there cyclic imports?", {"analytics.imports"}),
        ("Which functions are too complicated?", {"development.complexity"}),
    ],
)
def test_a_special_wish_gets_that_alone(text: str, capabilities: set[str]) -> None:
    assert {each for part in work(planned(text)).values() for each in part} == capabilities


def test_a_specialist_can_be_left_out_of_its_part() -> None:
    plan = planned("Review the code without security")
    assert "development.security" not in work(plan)["review"]
    assert "development.code_review" in work(plan)["review"]
    assert "left out as asked: Security" in plan.notes


def test_what_a_capability_works_from_comes_with_it() -> None:
    assert work(planned("hotspots")) == {
        "review": ["development.code_review"],
        "metrics": ["analytics.metrics", "analytics.hotspots"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "Book a flight to Rome",
        "What's the weather?",
        "Fix the security holes",
        "Refactor the code",
        "Deploy the project",
        "Translate the docs to French",
        "Test the market reaction to the new price",
        "Don't run the tests",
        "Review the contract with our supplier",
    ],
)
def test_what_no_playbook_covers_says_what_there_is(text: str) -> None:
    with pytest.raises(NoPlaybook) as caught:
        planned(text)
    said = str(caught.value)
    assert "no playbook covers this goal" in said
    assert "development: async code, code review" in said
    assert "a planner with a model (AMAS_MODEL, docs/planning.md)" in said
    assert "executive" not in said


def test_what_is_only_partly_covered_is_said() -> None:
    plan = planned("Review the code and deploy it to production")
    assert list(work(plan)) == ["review"]
    assert plan.notes == ("not covered: 'deploy it to production'",)


def test_typing_errors_are_told() -> None:
    assert planned("Reveiw the code").notes == ("read 'Reveiw' as 'review'",)


def test_the_input_may_stand_in_the_goal() -> None:
    plan = planned("Review the code in /srv/app, and run its tests", input_dir="")
    assert plan.tasks[0].input["input_dir"] == "/srv/app"
    assert plan.notes == ()


def test_another_path_than_the_input_is_told() -> None:
    assert planned("Review the code in /srv/app").notes == ("the goal names /srv/app; the input /in was used, whole",)
    assert planned("Review the code in /in/").notes == ()


def test_a_path_with_spaces_and_words_in_it_is_no_wish() -> None:
    assert list(work(planned("Run the tests of /home/me/my docs and api", input_dir="/home/me/my docs and api"))) == ["tests"]


def test_a_goal_without_its_input_is_refused() -> None:
    with pytest.raises(InputUnusable, match="--input DIR"):
        planned("Review the code in src", input_dir="")


def test_the_plan_has_the_flow_of_the_hierarchy() -> None:
    plan = planned("Review the code, show hotspots and write a report")
    needs = {task.key: task.needs for task in plan.tasks}
    assert needs == {
        "ingest": (),
        "tools": (),
        "report": ("ingest", "tools", "gate/review", "gate/metrics"),
        "approve": ("ingest", "gate/review", "gate/metrics", "report"),
        "publish": ("approve",),
        "review": ("ingest",),
        "gate/review": ("ingest", "review"),
        "metrics": ("ingest", "gate/review"),
        "gate/metrics": ("ingest", "gate/review", "metrics"),
    }
    assert plan.deliverable == "publish"
    assert plan.complexity.value == "moderate"
    assert {task.key for task in plan.tasks if task.layer is Layer.EXECUTIVE} == {"approve", "gate/review", "gate/metrics"}


def test_a_fleet_without_a_capability_leaves_it_out_and_says_so() -> None:
    fewer = FleetFacts(capabilities=FACTS.capabilities - {"development.security"}, playbooks=PLAYBOOKS)
    plan = planned("Review the code", facts=fewer)
    assert "development.security" not in work(plan)["review"]
    assert plan.notes == ("left out, no agent of this fleet can do it: development.security",)
    with pytest.raises(NoPlaybook, match=r"no agent of this fleet has development\.security"):
        planned("Check the security", facts=fewer)
