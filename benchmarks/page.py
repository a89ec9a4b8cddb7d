"""`python -m benchmarks.page`."""
def write(found): pass
