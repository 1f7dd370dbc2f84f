"""What features are said to mean."""
