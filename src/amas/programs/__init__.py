"""What programs get from `amas.orchestration`: the hierarchy's parts, against a running fleet or one of their own."""
