"""Coterie: a coordination service that speaks Apache ZooKeeper's protocols and file formats."""
