"""What a server does, as pure machines: no clock, no dice, no socket, no file."""
