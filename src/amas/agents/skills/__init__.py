"""The agents that ship with the product and do real work without a network or a model."""
