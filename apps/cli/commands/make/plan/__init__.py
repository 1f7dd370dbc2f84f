"""What long work will cost: bytes, operations, hours, machines."""
