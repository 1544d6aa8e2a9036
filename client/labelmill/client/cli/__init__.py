"""The `labelmill` command; one file a command group, all of them on the client library."""
