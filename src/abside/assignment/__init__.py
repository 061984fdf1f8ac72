"""Which variant a unit gets: pure functions, no I/O, no clock."""
