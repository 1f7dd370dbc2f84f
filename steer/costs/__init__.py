"""What long work costs before it is begun: bytes, operations, hours and machines."""
