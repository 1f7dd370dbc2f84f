"""What the server does and costs, measured against a process of its own."""
