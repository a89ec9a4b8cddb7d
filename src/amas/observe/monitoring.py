"""The files that Prometheus and Grafana read: `amas monitoring write` puts them into a folder."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from amas.observe.dashboards import DASHBOARDS, dashboard_json
from amas.observe.rules import EVALUATED_EVERY, JOB, rules_document

SCRAPED_EVERY = "15s"
RULES_FILE = "amas.rules.yml"


class Scraping(NamedTuple):
    """Where Prometheus finds the fleet."""

    targets: tuple[str, ...]
    """HOST:PORT of each control plane's metrics."""
    token_file: str = ""
    """Holds the fleet's token, where it has one; the path as Prometheus sees it."""
    alertmanagers: tuple[str, ...] = ()
    """HOST:PORT of those that Prometheus's alerts go to."""


def prometheus_document(scraping: Scraping) -> dict[str, Any]:
    """Return `prometheus.yml`."""
    job: dict[str, Any] = {"job_name": JOB, "static_configs": [{"targets": list(scraping.targets)}]}
    if scraping.token_file:
        job["authorization"] = {"credentials_file": scraping.token_file}
    document: dict[str, Any] = {
        "global": {"scrape_interval": SCRAPED_EVERY, "evaluation_interval": EVALUATED_EVERY},
        "rule_files": [RULES_FILE],
        "scrape_configs": [job],
    }
    if scraping.alertmanagers:
        document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": list(scraping.alertmanagers)}]}]}
    return document


def files(scraping: Scraping) -> Iterator[tuple[str, str]]:
    """Return each file's path below the folder, and its text."""
    import yaml

    yield "prometheus.yml", yaml.safe_dump(prometheus_document(scraping), sort_keys=False)
    yield RULES_FILE, yaml.safe_dump(rules_document(), sort_keys=False, width=1000)
    for dashboard in DASHBOARDS:
        yield f"dashboards/{dashboard.uid}.json", dashboard_json(dashboard)
