"""The models that a server holds: versions of each, and what examples pass on their way to them."""
