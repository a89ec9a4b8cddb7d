"""`python -m benchmarks.science [--only NAME,...]`: run measured workflows through the Python client.

Every task waits as long as its measured one ran, scaled so that the critical path takes `--path-s` seconds, in a fleet with a
place for every task of the widest level. So nothing but the critical path bounds the run, and what it takes longer is overhead:
of the client, the engine, the hosts, and the clock's grain (a wait ends up to a millisecond late, on each level).
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from amas.client import Fleet, NewTask, TaskHandle
from benchmarks import page, progress, results
from benchmarks.fleet import WIDE, cpu_by_process, recorded, running
from benchmarks.peers.environments import FOLDER, python_with

PACKAGES = ("wfcommons==1.6",)
RECIPES = ("Montage", "Epigenomics", "Genome", "Soykb")
"""Astronomy: a mosaic of the sky; biology: methylation, the 1000 genomes, variants of soybeans. Between 3 and 11 levels deep."""
BATCH = 1000
HOSTS = 1


class Node(msgspec.Struct, frozen=True):
    """A task of a measured workflow."""

    id: str
    kind: str
    seconds: float
    needs: tuple[str, ...]


class Graph(msgspec.Struct, frozen=True):
    """A measured workflow; each task stands after those that it needs."""

    name: str
    tasks: list[Node]

    def ends(self) -> dict[str, float]:
        """Return when each task would end if nothing but its needs held it up."""
        found: dict[str, float] = {}
        for node in self.tasks:
            found[node.id] = node.seconds + max((found[need] for need in node.needs), default=0.0)
        return found

    def levels(self) -> list[list[Node]]:
        """Return the tasks by the longest way to them from a task that needs none."""
        depth: dict[str, int] = {}
        for node in self.tasks:
            depth[node.id] = max((depth[need] + 1 for need in node.needs), default=0)
        ordered = sorted(self.tasks, key=lambda node: depth[node.id])
        return [list(level) for _, level in groupby(ordered, key=lambda node: depth[node.id])]


def measured_graph(name: str, tasks: int) -> Graph:
    """Return a workflow of a recipe, from a file where it was made before."""
    path = FOLDER / f"{name}-{tasks}.json"
    if not path.exists():
        command = [
            str(python_with("wfcommons", PACKAGES)),
            str(Path(__file__).with_name("recipe.py")),
            name,
            str(tasks),
            str(path),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=FOLDER)  # it leaves files where it runs
    return msgspec.json.decode(path.read_bytes(), type=Graph)


async def _submit(client: Fleet, graph: Graph, scale: float) -> list[TaskHandle]:
    """Submit level by level, since a task names those that it needs by the ids that they got."""
    handles: dict[str, TaskHandle] = {}
    for level in graph.levels():
        for start in range(0, len(level), BATCH):
            part = level[start : start + BATCH]
            tasks = [
                NewTask(
                    capability="bench.nap",
                    key=node.id,
                    input={"seconds": node.seconds * scale},
                    needs=tuple(handles[need].id for need in node.needs),
                )
                for node in part
            ]
            handles |= {node.id: handle for node, handle in zip(part, await client.submit_batch(tasks), strict=True)}
    return list(handles.values())


async def measure(graph: Graph, path_s: float) -> dict[str, Any]:
    """Return how long the graph took beside its critical path, and the CPU of a task."""
    critical_s = max(graph.ends().values())
    scale, levels = path_s / critical_s, graph.levels()
    async with running(hosts=HOSTS, fleet_file=WIDE) as (fleet, client):
        before, began = cpu_by_process(fleet), time.perf_counter()
        handles = await _submit(client, graph, scale)
        submitted_s = time.perf_counter() - began
        outcomes = await client.results(handles, timeout_s=path_s * 3 + 120)
        took_s = time.perf_counter() - began
        await recorded(fleet)
        after = cpu_by_process(fleet)
    assert len(outcomes) == len(graph.tasks) and all(outcome == {"ok": True} for outcome in outcomes)
    cpu_us = sum(after[name] - before[name] for name in before) / len(graph.tasks) * 1e6
    return {
        "workflow": graph.name,
        "tasks": len(graph.tasks),
        "needs": sum(len(node.needs) for node in graph.tasks),
        "levels": len(levels),
        "widest": max(map(len, levels)),
        "measured_path_s": round(critical_s, 1),
        "measured_work_s": round(sum(node.seconds for node in graph.tasks)),
        "path_s": path_s,
        "took_s": round(took_s, 3),
        "submitted_s": round(submitted_s, 3),
        "overhead_s": round(took_s - path_s, 3),
        "overhead_percent": round((took_s / path_s - 1) * 100, 2),
        "overhead_ms_per_level": round((took_s - path_s) / len(levels) * 1000, 1),
        "cpu_us_per_task": round(cpu_us),
    }


def main(arguments: list[str]) -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.science", description="Run measured scientific workflows.")
    parser.add_argument("--only", default="", help=f"recipes of wfcommons, with commas between them: {', '.join(RECIPES)}")
    parser.add_argument("--tasks", type=int, default=6_000, help="about so many in each")
    parser.add_argument("--path-s", type=float, default=20.0, help="what the critical path is scaled to")
    parser.add_argument("--output", type=Path, default=results.PATH)
    asked = parser.parse_args(arguments)
    names = [name for name in asked.only.split(",") if name] or list(RECIPES)
    rows = []
    with progress.shown(len(names)):
        for name in names:
            progress.begin(name)
            progress.say("the graph")
            graph = measured_graph(name, asked.tasks)
            progress.say("the run")
            rows.append(asyncio.run(measure(graph, asked.path_s)))
            progress.done()
    found = results.load(asked.output)
    found["science_overhead_percent"] = max(row["overhead_percent"] for row in rows)
    found.setdefault("details", {})["science"] = rows
    results.save(found, asked.output)
    if asked.output == results.PATH:
        page.write(found)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
