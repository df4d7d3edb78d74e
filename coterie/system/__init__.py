"""All of the outside world: the only package that touches the operating system."""
