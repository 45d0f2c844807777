"""Faults of every kind, what must become of each, and the campaign that tries them by the thousand."""
