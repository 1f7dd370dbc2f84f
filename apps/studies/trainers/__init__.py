"""Trainers of dictionaries side by side, this package's and others': `steer bench-training`."""
