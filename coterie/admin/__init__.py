"""Status in, text out: what operators ask a server. Pure."""
