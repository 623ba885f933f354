"""One file for each technique: its settings, which load without Keras, and what it does."""
