"""The rules that every fleet has until its file says otherwise (`alerts: {off: [NAME]}`, or a rule of the same name)."""

from amas.model.alerts import AlertRule, Severity, parsed


def _rule(name: str, severity: Severity, when: str, for_s: float, summary: str, runbook: str = "") -> AlertRule:
    return AlertRule(name=name, severity=severity, when=parsed(when), for_s=for_s, summary=summary, runbook=runbook)


DEFAULT_RULES: tuple[AlertRule, ...] = (
    _rule("HostLost", "critical", "host_lost > 0", 0, "A host stopped beating; its tasks went to others.", "host-lost"),
    _rule("AgentFailure", "critical", "agents_unhealthy > 0", 0, "Agents' health checks say no.", "agent-unwell"),
    _rule("AgentQuarantined", "critical", "agents_quarantined > 0", 0, "Agents crashed again and again, and get no tasks now."),
    _rule("PoolDown", "critical", "pool_down > 0", 0, "All agents of a pool are quarantined: its tasks wait for them."),
    _rule("AgentsMissing", "critical", "agents_missing > 0", 60, "Fewer agents live than are wanted."),
    _rule(
        "HostIdle", "critical", "host_idle_s > 60", 30, "A host beats and does nothing while work waits.", "agent-unresponsive"
    ),
    _rule("HostStalled", "warning", "host_lag_s > 10", 30, "A host's event loop is held up.", "agent-unresponsive"),
    _rule("NoHosts", "critical", "hosts < 1", 30, "Nothing is being done: no host lives.", "system-failure"),
    _rule("WorkLost", "critical", "work_lost > 0", 15, "The engine lost work that the records hold.", "data-corruption"),
    _rule("HighErrorRate", "warning", "error_rate > 10%", 120, "Many tasks fail for good.", "degradation"),
    _rule("LearningDegradation", "warning", "learned_success < 50%", 300, "A pool does worse than it should.", "degradation"),
    _rule("HighCPUUsage", "warning", "machine_cpu > 80%", 300, "The machine is busy."),
    _rule("HighMemoryUsage", "warning", "machine_memory > 90%", 300, "The machine's memory is nearly full."),
    _rule("DiskNearlyFull", "critical", "disk_free < 5%", 60, "The fleet's disk is nearly full: the engine stops when it is."),
    _rule("SlowRecovery", "warning", "recovery_s > 30", 0, "Lost hosts' work was back late."),
    _rule("WaitsLong", "warning", "oldest_waiting_s > 10m", 300, "Work waits long for a pool."),
    _rule("MessageBacklog", "warning", "message_backlog > 1000", 60, "An agent doesn't read its messages."),
    _rule("BudgetNearlySpent", "warning", "budget_spent > 90%", 0, "A budget is nearly spent: what needs it will be parked."),
    _rule("BackupsMissed", "critical", "backups_missed > 0", 600, "Back-ups that are declared aren't made.", "backups-missed"),
    _rule(
        "WebhookDisabled", "warning", "webhook_disabled > 0", 0, "A webhook did nothing but fail and is told nothing any more."
    ),
    _rule("RecordsBehind", "warning", "records_lag_s > 60", 60, "The history is behind the engine."),
)
