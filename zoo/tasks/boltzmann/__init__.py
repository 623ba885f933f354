"""Networks with an energy: Boltzmann machines, and what is stacked of them."""
