"""A data directory in the formats of Apache ZooKeeper."""
