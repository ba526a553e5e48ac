"""api: what can be done with zones and records, and the forms in which HTTP clients ask for it.

Nothing is imported here: the command line uses the JSON forms and must not pay for a web framework.
"""
