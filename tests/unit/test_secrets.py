"""Secrets by reference: what each scheme reads, what is said where it can't, and that only the reference is ever shown."""

import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from secret_places import VAULT_TOKEN, Keeper, kubernetes_server, vault_server

from amas import secrets
from amas.agents.failures import verdict
from amas.errors import SecretUnreadable, SettingInvalid
from amas.fleet.check import problems
from amas.model.fleet import FleetSpec, PoolSpec
from amas.observe.logging import open_log
from amas.secrets import STALE_MAX_S, Known, give, revealed_headers, secrets_in, talk, with_secrets
from amas.settings import MessageSettings, ServerSettings

VALUE = "sk-the-very-secret-itself"


@pytest.fixture
def vault() -> Iterator[Keeper]:
    with vault_server() as keeper:
        keeper.secrets["kv/openai"] = {"key": VALUE, "retries": 3}
        keeper.secrets["old/team/openai"] = {"key": "from version one"}
        yield keeper


def vault_environ(keeper: Keeper, **more: str) -> dict[str, str]:
    return {"VAULT_ADDR": keeper.url, "VAULT_TOKEN": VAULT_TOKEN} | more


def test_the_environment_and_files_are_read_and_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{VALUE}\n")
    (tmp_path / "empty").write_text("\n")
    known = Known(environ={"KEY": VALUE})
    assert known.reveal("env:KEY") == known.reveal(f"file:{tmp_path}/key") == VALUE
    for reference, said in (
        ("env:NONE", "the environment has no variable NONE: set it"),
        (f"file:{tmp_path}/none", "can't be read: No such file"),
        (f"file:{tmp_path}/empty", "is empty"),
        ("valt:kv/openai#key", "is no reference to a secret: write env:NAME"),
        ("vault:openai", "must be vault:mount/path#field"),
        ("vault:kv/openai#key", "VAULT_ADDR isn't set"),
        ("k8s:openai", "must be k8s:secret#key"),
        ("k8s:openai#key", "it isn't mounted as"),
    ):
        with pytest.raises(SecretUnreadable, match=said):
            known.reveal(reference)


def test_vault_is_asked_by_the_version_of_its_mount(vault: Keeper) -> None:
    known = Known(environ=vault_environ(vault))
    assert known.reveal("vault:kv/openai#key") == VALUE
    assert "/v1/kv/data/openai" in vault.asked
    assert known.reveal("vault:old/team/openai#key") == "from version one"
    assert known.reveal("vault:kv/openai#retries") == "3"


def test_vault_refusals_name_the_way_out_and_no_secret(vault: Keeper, tmp_path: Path) -> None:
    def said(reference: str, **environ: str) -> str:
        with pytest.raises(SecretUnreadable) as refused:
            Known(environ=vault_environ(vault, **environ), account=tmp_path).reveal(reference)
        assert refused.value.reference == reference
        text = "".join(traceback.format_exception(refused.value))
        assert VALUE not in text
        assert VAULT_TOKEN not in text
        return str(refused.value)

    assert "has no field pass: it has key, retries" in said("vault:kv/openai#pass")
    assert "no such secret" in said("vault:kv/nothing#key")
    assert "denies it" in said("vault:kv/openai#key", VAULT_TOKEN="another")
    assert "no token for Vault: set VAULT_TOKEN" in said("vault:kv/openai#key", VAULT_TOKEN="")
    assert "doesn't answer" in said("vault:kv/openai#key", VAULT_ADDR="http://127.0.0.1:1")
    split = VAULT_TOKEN + "\nof another line"
    assert "characters that no HTTP header may have" in said("vault:kv/openai#key", VAULT_TOKEN=split)
    assert Known(environ=vault_environ(vault, VAULT_TOKEN=VAULT_TOKEN + "\n")).reveal("vault:kv/openai#key") == VALUE
    assert "must begin with https:// or http://" in said("vault:kv/openai#key", VAULT_ADDR="vault:8200")
    assert "is none" in said("vault:kv/openai#key", VAULT_ADDR="http://[::1")
    vault.sealed = True
    assert "sealed" in said("vault:kv/openai#key")


@pytest.mark.parametrize(
    "wrong", [[], "text", 7, {"data": []}, {"data": {"options": "2"}}, {"data": {"options": {"version": "2"}}}]
)
def test_who_answers_in_the_place_of_a_vault_is_no_vault(vault: Keeper, wrong: Any) -> None:
    vault.answers["/v1/"] = wrong
    with pytest.raises(SecretUnreadable):
        Known(environ=vault_environ(vault)).read("vault:kv/openai#key")


@pytest.mark.parametrize("wrong", [[], "text", {"data": []}, {"data": {"key": 7}}, {"data": {"key": "no base64"}}])
def test_who_answers_in_the_place_of_a_cluster_is_no_cluster(tmp_path: Path, wrong: Any) -> None:
    with kubernetes_server(tmp_path) as (cluster, environ):
        cluster.secrets["agents/openai"] = {"key": VALUE}
        cluster.answers["/api/"] = wrong
        with pytest.raises(SecretUnreadable):
            Known(environ=environ, account=tmp_path).read("k8s:openai#key")


def test_who_answers_a_byte_at_a_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "TIMEOUT_S", 0.5)
    over = threading.Event()

    def drip() -> None:
        with listening.accept()[0] as peer, suppress(OSError):
            while not over.wait(0.1):
                peer.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        dripping = threading.Thread(target=drip)
        dripping.start()
        end = threading.Timer(60, over.set)
        end.start()
        try:
            with pytest.raises(SecretUnreadable, match="doesn't answer"):
                talk.Place(f"http://127.0.0.1:{listening.getsockname()[1]}", "vault:kv/x#y", {}).ask("GET", "/")
            assert not over.is_set()
        finally:
            end.cancel()
            over.set()
            dripping.join()


def test_a_header_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADER_KEY", f"{VALUE}\nand more")
    with pytest.raises(SecretUnreadable, match="line break") as refused:
        revealed_headers({"accept": "text/plain", "authorization": "env:HEADER_KEY"})
    assert refused.value.reference == "env:HEADER_KEY"
    assert VALUE not in str(refused.value)


def test_what_is_in_use_is_scrubbed_however_much_was_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "KNOWN_MAX", 4)
    known = Known(environ={"SHORT": "s3cret", "PIN": "123456"})
    for number in range(10):
        (tmp_path / "rotated").write_text(f"a-longer-secret-{number}")
        known.reveal(f"file:{tmp_path}/rotated")
        known.reveal("env:SHORT")
    assert known.scrubbed("it is s3cret, a-longer-secret-9") == f"it is [env:SHORT], [file:{tmp_path}/rotated]"
    known.reveal("env:PIN")
    line = known.scrubbed_line(msgspec.json.encode({"x": 1234567, "y": 'said "123456"'}))
    assert msgspec.json.decode(line) == {"x": 9999997, "y": 'said "[env:PIN]"'}


def test_a_pod_logs_in_to_vault_with_its_service_account_or_a_token_file(vault: Keeper, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("eyJ.the-pods-token")
    environ = {"VAULT_ADDR": vault.url, "AMAS_VAULT_ROLE": "amas"}
    assert Known(environ=environ, account=tmp_path).reveal("vault:kv/openai#key") == VALUE
    assert vault.asked[-1] == "/v1/auth/token/revoke-self", "or each reading would leave a lease"
    (tmp_path / "mine").write_text(VAULT_TOKEN + "\n")
    environ = {"VAULT_ADDR": vault.url, "AMAS_VAULT_TOKEN_FILE": str(tmp_path / "mine")}
    assert Known(environ=environ).reveal("vault:kv/openai#key") == VALUE


def test_kubernetes_secrets_are_mounted_or_asked_of_the_cluster_over_tls(tmp_path: Path) -> None:
    with kubernetes_server(tmp_path) as (cluster, environ):
        cluster.secrets |= {"agents/openai": {"key": VALUE}, "other/openai": {"key": "theirs"}}
        known = Known(environ=environ, mounted=tmp_path / "mounted", account=tmp_path)
        assert known.reveal("k8s:openai#key") == VALUE
        assert known.reveal("k8s:other/openai#key") == "theirs"
        for reference, said in (
            ("k8s:openai#pass", "has no key pass: it has key"),
            ("k8s:none#key", "the namespace agents has no Secret none"),
        ):
            with pytest.raises(SecretUnreadable, match=said):
                known.reveal(reference)
        (tmp_path / "mounted" / "local").mkdir(parents=True)
        (tmp_path / "mounted" / "local" / "key").write_text("mounted")
        asked = len(cluster.asked)
        assert known.reveal("k8s:local#key") == "mounted"
        assert len(cluster.asked) == asked
        (tmp_path / "token").write_text("expired")
        with pytest.raises(SecretUnreadable, match="let its service account `get` this Secret"):
            known.read("k8s:openai#key")
        (tmp_path / "ca.crt").unlink()
        with pytest.raises(SecretUnreadable, match=r"ca\.crt can't be read"):
            known.read("k8s:openai#key")


def test_a_rotated_secret_is_read_again_and_an_outage_stops_nothing_at_first(vault: Keeper, tmp_path: Path) -> None:
    now, file = [0.0], tmp_path / "key"
    file.write_text("the first one")
    known = Known(environ=vault_environ(vault), clock=lambda: now[0])
    assert (known.reveal("vault:kv/openai#key"), known.reveal(f"file:{file}")) == (VALUE, "the first one")
    file.write_text("the second one")
    vault.secrets["kv/openai"] = {"key": "sk-rotated"}
    asked = len(vault.asked)
    assert known.reveal(f"file:{file}") == "the second one"
    assert known.reveal("vault:kv/openai#key") == VALUE
    assert len(vault.asked) == asked  # who reveals never waits for a vault
    known.refresh()
    assert known.reveal("vault:kv/openai#key") == "sk-rotated"
    vault.sealed = True
    known.refresh()
    assert known.reveal("vault:kv/openai#key") == "sk-rotated"
    now[0] += STALE_MAX_S + 1
    known.refresh()
    with pytest.raises(SecretUnreadable, match="sealed"):
        known.reveal("vault:kv/openai#key")


def test_only_the_reference_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOWN_KEY", VALUE)
    written = {"api_key": {"secret": "env:SHOWN_KEY"}, "other": [{"x": {"secret": "env:SHOWN_KEY"}}], "secret": {"not": "one"}}
    assert list(secrets_in(written)) == ["env:SHOWN_KEY"] * 2
    options = with_secrets(written)
    assert options["api_key"].reveal() == VALUE
    shown = (
        f"{options} {options['api_key']} {options['api_key']!r} {msgspec.json.encode(options)!r} {msgspec.to_builtins(options)}"
    )
    assert VALUE not in shown
    assert "env:SHOWN_KEY" in shown
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(options)) == written  # and so it comes to an isolated child
    settings = MessageSettings.read({"AMAS_MESSAGE_SECRET": "env:SHOWN_KEY"})
    assert settings.secret == VALUE
    assert VALUE not in repr(settings)
    with pytest.raises(SettingInvalid, match="AMAS_TOKEN can't be had: the secret env:NO_SUCH"):
        ServerSettings.read({"AMAS_TOKEN": "env:NO_SUCH"})


def test_what_agents_say_by_mistake_is_scrubbed(tmp_path: Path) -> None:
    tricky = 'a "quoted"\nsecret'
    give({"vault:kv/scrub#key": "sk-scrubbed-from-all", "vault:kv/scrub#tricky": tricky, "env:SHORT": "abc"})
    log = open_log(tmp_path / "host.jsonl")
    log.info(f"my key is sk-scrubbed-from-all, {tricky} and abc", key="sk-scrubbed-from-all", exact=tricky)
    lines = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "sk-scrubbed" not in lines
    assert "quoted" not in lines
    assert "[vault:kv/scrub#key]" in lines
    assert " and abc" in lines  # too short to be told from other words
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("wrong key sk-scrubbed-from-all")
    failure = verdict(raised.value).failure
    assert "sk-scrubbed" not in failure.message + failure.detail
    assert "[vault:kv/scrub#key]" in failure.detail


def test_a_secret_that_is_no_reference_is_refused_without_being_shown() -> None:
    pool = PoolSpec(name="writer", agent="m:a", capabilities=("text.write",), options={"key": {"secret": VALUE}})
    found = list(problems(FleetSpec(name="f", pools=(pool,))))
    assert [problem.field for problem in found] == ["pools[0].options"]
    assert "no reference: write env:..." in found[0].message
    assert VALUE not in found[0].message
