"""What is measured, one idea to a module."""
