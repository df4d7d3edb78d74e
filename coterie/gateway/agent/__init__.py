"""The host agent: settings and server sets as files of the host, behind rails."""
