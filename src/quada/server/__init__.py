"""server: the running processes, the one place where rooms meet.

The steps of an authoritative query, in order: `transport.udp` or `transport.tcp` takes it, the
authority answers or defers it, the limiter judges the response, the ring takes the event, the
socket the answer. What is deferred goes to `errands` (lookups) or `zonework` (transfers, updates,
TSIG), and of a resolver to `recursion`.
"""
