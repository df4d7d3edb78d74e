"""Coterie and Apache ZooKeeper side by side: the same loads in turns, from one load generator.

Rules: nothing here imports Coterie, so the generator cannot share a fault or a shortcut with the
server that it measures; every load runs in a process of its own; every process that is started is
ended by its own handle.
"""
