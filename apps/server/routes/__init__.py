"""The routes, a file a protocol."""
