"""What an edit does downstream."""
