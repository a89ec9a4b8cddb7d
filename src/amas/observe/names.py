"""The names of metrics, letter for letter as dashboards and alerts know them. Labels come from closed sets, never an id.

`orchestration_*` are the required names (A12); `amas_*` follow Prometheus's conventions: base units, `_total` for counters.
"""

ACTIVE_WORKFLOWS = "orchestration_active_workflows"
ACTIVE_AGENTS = "orchestration_active_agents"
MESSAGE_QUEUE_DEPTH = "orchestration_message_queue_depth"
DECOMPOSITION_DURATION = "orchestration_task_decomposition_duration"
ASSIGNMENT_DURATION = "orchestration_agent_assignment_duration"
MESSAGE_LATENCY = "orchestration_message_latency"
RECOVERY_DURATION = "orchestration_failure_recovery_duration"

TASKS = "amas_tasks"
"""A counter: exposed as `amas_tasks_total`."""
MESSAGES = "amas_messages"
"""A counter: exposed as `amas_messages_total`."""
TASKS_QUEUED = "amas_tasks_queued"
QUEUE_BOUND = "amas_queue_bound"
TASKS_RUNNING = "amas_tasks_running"
TASKS_DELAYED = "amas_tasks_delayed"
DEAD_LETTERS = "amas_dead_letters"
AGENTS = "amas_agents"
HOSTS = "amas_hosts"
HOSTS_LOST = "amas_hosts_lost"
"""A counter: exposed as `amas_hosts_lost_total`."""
ENGINE_UP = "amas_engine_up"
RECORDER_LAG = "amas_recorder_lag_seconds"
HTTP_DURATION = "amas_http_request_duration_seconds"
