"""authority: a question about our zones, and its answer. No sockets, no files, no clock."""
