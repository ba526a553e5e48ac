"""bench: what a query costs, beside the installed peers, in one run."""
