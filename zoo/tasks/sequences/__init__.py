"""Sequences: what is answered along a signal, or of a whole one."""
