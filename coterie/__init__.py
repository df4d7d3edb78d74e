"""Coterie: a coordination service that speaks Apache ZooKeeper's protocols and file formats."""

__version__ = "0.1.0"
