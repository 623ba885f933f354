"""TFLite: its converter in a process of its own, what that leaves undone, and LiteRT."""
