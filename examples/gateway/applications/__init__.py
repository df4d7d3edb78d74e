"""The applications that come along: programs of their own that know nothing of the gateway."""
