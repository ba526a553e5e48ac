"""console: pages over the API's operations, rendered here, with a little script of our own.

Nothing is imported here, so that one page's needs are no other's.
"""
