"""A small science gateway that is cut into components which find each other through Coterie."""
