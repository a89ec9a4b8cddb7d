"""What is enforced whoever asks: who said something, and whether it was said before."""
