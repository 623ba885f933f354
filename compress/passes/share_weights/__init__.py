"""A few weights that many share."""
