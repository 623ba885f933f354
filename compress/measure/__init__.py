"""What a model holds and costs: counts, bytes, times, and the report of a compression."""
