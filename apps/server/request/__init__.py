"""What is asked: bodies, what is on offer, and the rows that they mean."""
