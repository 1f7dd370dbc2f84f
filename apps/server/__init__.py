"""`steer serve`: edited models behind the protocol that evaluations speak."""
