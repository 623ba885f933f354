"""SavedModel and its signatures."""
