"""Agents' tools: Python functions, HTTP, commands in a sandbox, MCP servers (docs/tools.md).

`toolbox.py` is what a host has and an attempt asks: it knows the fleet's tools, checks arguments, asks the `ToolGuard`, and runs
a use as an announced, journaled step. What a kind of tool is stands in a file of its own: `functions.py`, `requests.py`,
`shell.py` with `sandbox.py`, `mcp_server.py` with `mcp_wire.py`. Nothing runs a tool past the toolbox, and no tool decides
whether it may run.
"""
