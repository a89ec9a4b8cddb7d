"""Messages between agents: the bus, whom a recipient stands for and who may write to whom, and what comes in."""
