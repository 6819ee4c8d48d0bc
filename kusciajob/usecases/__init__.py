"""What callers ask of the server, whatever they speak."""
