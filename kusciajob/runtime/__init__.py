"""What runs the parties of a task."""
