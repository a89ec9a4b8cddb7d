"""`python -m amas`: the same as the `amas` command."""

from amas.cli.main import main

main()
