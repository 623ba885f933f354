"""What is done for a changed network that nobody trains, with examples that have no labels."""
