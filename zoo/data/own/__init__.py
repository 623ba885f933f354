"""The user's own pictures, tables and signals."""
