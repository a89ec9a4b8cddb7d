"""What 30,000 agents on one machine do, and take; each part in a file of its own."""
