"""store: what outlives the process."""
