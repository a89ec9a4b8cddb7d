"""The product's words as types: states, tasks, workflows, goals, plans, fleets, journal entries. No behaviour beyond codecs."""
