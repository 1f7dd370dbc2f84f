"""What screens and plans say of costs, beside what is true: studies whose rows are kept here."""
