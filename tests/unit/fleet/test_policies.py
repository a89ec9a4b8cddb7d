"""Files with policies: what they mean, and what each mistake says, with file, line and field."""

from pathlib import Path

import pytest

from amas.core.policies import Known, KnownPool
from amas.errors import FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.fleet.policies import load_expectations, load_policies
from amas.model.policy import ArgumentTest, CallLimit
from amas.policy.manager import PolicyManager

EXAMPLE = Path(__file__).parents[3] / "examples" / "policies"
KNOWN = Known(pools=(KnownPool(name="coder", layer="specialist", capabilities=("code.write",)),))


def refused(folder: Path, text: str, name: str = "p.yaml") -> str:
    (folder / name).write_text(text)
    with pytest.raises(FleetFileInvalid) as error:
        load_policies([folder], KNOWN)
    return str(error.value).replace(f"{folder}/", "")


def test_the_example_decides_as_its_table_expects() -> None:
    fleet = load_fleet(EXAMPLE / "fleet.yaml", environ={})
    manager = PolicyManager(fleet)
    for line in load_expectations(EXAMPLE / "expected.yaml"):
        found = manager.decide(manager.call(line.agent, line.tool, line.arguments, tenant=line.tenant))
        assert found.allowed == (line.expect == "allow"), (line, found.why)
        assert not line.rule or line.rule in found.rules, (line, found.why)
    by_name = {rule.name: rule for rule in fleet.policies}
    assert by_name["git"].limit == CallLimit(calls=100, per_s=3600.0, each="agent")
    assert by_name["fetch-docs"].when["timeout_s"] == ArgumentTest(at_most=30.0)
    assert by_name["small-searches"].why == "at most 50 results at once"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "rules:\n  - name: a\n    allow: x\n    pool: coder\n",
            "p.yaml:4: rules[0].pool: is not a field here (did you mean 'pools'?)",
        ),
        ("rules:\n  - name: a\n    allow: x\n    pools: 5\n", "p.yaml:4: rules[0].pools: must be text or a list, not 5"),
        (
            "rules:\n  - name: a\n    allow: x\n    pools: codr\n",
            "p.yaml:4: rules[0].pools: there is no pool 'codr' (did you mean",
        ),
        ("rules:\n  - {name: a, allow: x}\n  - {name: b}\n", "p.yaml:3: rules[1]: say either allow or deny"),
        ("rules:\n  - {name: a, allow: x, deny: y}\n", "p.yaml:2: rules[0]: say either allow or deny"),
        (
            "rules:\n  - name: a\n    deny: x\n    when:\n      n:\n        in: []\n        at_most: 1\n",
            "p.yaml:6: rules[0].when.n.in: can",
        ),
        (
            "rules:\n  - name: a\n    deny: x\n    limit: {calls: 1, per: soon}\n",
            "p.yaml:4: rules[0].limit.per: 'soon' is no time",
        ),
        ("rules:\n  - name: a\n    deny: x\n    limit: {calls: 1, per: 1h, each: agnt}\n", "each: 'agnt' is none of agent, pool"),
        ("rules: [\n", "p.yaml:2: is not YAML"),
    ],
)
def test_each_mistake_names_file_line_and_field(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_cedar_and_json_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"rules": [\n\t{"name": "a", "allow": "x"}\n]}')
    found = refused(tmp_path, "permit (principal, action, resource);\n\nforbid (principal, action, thing);", "b.cedar")
    assert found.startswith("b.cedar:3: isn't Cedar")
    assert "b.cedar:2: a policy ends with a semicolon" in refused(
        tmp_path, "// nothing\npermit (principal, action, resource)", "b.cedar"
    )
    (tmp_path / "b.cedar").write_text("permit (principal, action, resource);")
    rules, warnings = load_policies([tmp_path], KNOWN)
    assert [(rule.name, rule.at) for rule in rules] == [("a", "a.json:2"), ("b.cedar:1", "b.cedar:1")]
    assert warnings == ()


def test_names_are_unique_over_all_files_and_warnings_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules:\n  - {name: a, allow: x}\n")
    assert "a.yaml:2: rules[0].name: 'a' names 2 rules" in refused(tmp_path, "rules:\n  - {name: a, deny: x}\n", "b.yaml")
    (tmp_path / "b.yaml").write_text("rules:\n\n  - {name: b, deny: x}\n")
    assert load_policies([tmp_path], KNOWN).warnings == ("a.yaml:2: a allows nothing: 'b' denies all of it",)


def test_a_folder_without_policies_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(FleetFileInvalid, match="holds no policies"):
        load_policies([tmp_path], KNOWN)
    with pytest.raises(FleetFileInvalid, match=r"none\.yaml: isn't there"):
        load_policies([tmp_path / "none.yaml"], KNOWN)
