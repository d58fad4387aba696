"""A running guest: its first process, the frames between it and here, the commands it is given."""
