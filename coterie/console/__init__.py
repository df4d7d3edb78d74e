"""HTTP: Apache's admin commands, metrics, znodes as resources, and the web console."""
