"""quada: the DNS platform where IPv6 cannot fail silently."""

__version__ = "0.1.0"
