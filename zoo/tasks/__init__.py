"""Kinds of learning: what is seen of a batch, what is measured, what is deployed.

One module for each kind; `zoo.catalog.TASKS` lists them.
"""
