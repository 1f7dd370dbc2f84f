"""What is answered: rows on their way, proofs, errors, counts."""
