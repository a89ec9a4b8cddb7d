"""`python recipe.py NAME TASKS FILE`: write a workflow of a wfcommons recipe as JSON. Runs where wfcommons is, without amas.

The file: `{"name", "tasks": [{"id", "kind", "seconds", "needs": [id...]}...]}`, each task after those that it needs.
"""

import json
import random
import sys
from pathlib import Path

import networkx
import numpy
import wfcommons.wfchef.recipes
from wfcommons import WorkflowGenerator

SEED = 1  # the same graph in every run


def graph(name: str, tasks: int) -> dict[str, object]:
    """Return a workflow of about so many tasks."""
    random.seed(SEED)
    numpy.random.seed(SEED)
    recipe = getattr(wfcommons.wfchef.recipes, f"{name}Recipe")
    workflow = WorkflowGenerator(recipe.from_num_tasks(tasks)).build_workflow()
    rows = []
    for task_id in networkx.lexicographical_topological_sort(workflow):
        task = workflow.tasks[task_id]
        needs = sorted(workflow.predecessors(task_id))
        rows.append({"id": task_id, "kind": task.name, "seconds": float(task.runtime), "needs": needs})
    return {"name": name, "tasks": rows}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(graph(sys.argv[1], int(sys.argv[2]))))
