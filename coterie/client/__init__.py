"""The client: asyncio first, with a blocking twin."""
