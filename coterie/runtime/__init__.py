"""The asyncio driver: runs the machines over real sockets, clocks and disks."""
