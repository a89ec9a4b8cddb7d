"""Fleet files: load, check, and the blueprints that ship with the product."""
