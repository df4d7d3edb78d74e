"""Recipes over a client: locks, elections, membership and the like, each in a file of its own."""
