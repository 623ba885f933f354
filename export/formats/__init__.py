"""How files of a format are made, read and run; targets put these together."""
