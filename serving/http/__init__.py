"""REST: what every request passes, the protocols' forms, and what a server says of itself."""
