"""The fleet on one machine: a supervisor whose children are the engine, the control plane and the hosts."""
