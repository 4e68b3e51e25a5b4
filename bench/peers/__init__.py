"""Other servers in the same shapes, beside Timewire: ``make bench-peers``."""
