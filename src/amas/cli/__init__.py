"""Commands. Nothing imports this package; heavy libraries load inside the command that needs them."""
