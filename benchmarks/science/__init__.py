"""Measured scientific workflows, run to the end: how much longer than their critical path a fleet takes.

wfcommons (https://wfcommons.org) carries recipes made from traces of real runs. It needs packages that nothing else here does, so
`recipe.py` runs in an environment of its own and writes a graph down: tasks, their seconds, what each needs.
"""
