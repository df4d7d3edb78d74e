"""The portal: the pages of the gateway, the way to its API servers, and the live page."""
