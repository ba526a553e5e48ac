"""Numbers of the DNS protocol that the hot path compares: plain integers, with IANA's names.

Presentation names come from dnspython (`dns.rdatatype.to_text`); these constants exist because the
hot path may not pay for an enum.
"""

from __future__ import annotations

from typing import Final

# Types (IANA "Resource Record (RR) TYPEs").
A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28  # RFC 3596 2.1
SRV: Final = 33
DNAME: Final = 39
OPT: Final = 41
DS: Final = 43
RRSIG: Final = 46
NSEC: Final = 47
DNSKEY: Final = 48
NSEC3: Final = 50
NSEC3PARAM: Final = 51
CDS: Final = 59
CDNSKEY: Final = 60
SVCB: Final = 64
HTTPS: Final = 65
TSIG: Final = 250
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255
POOL: Final = 65402  # private use: addresses chosen from a pool
ALIAS: Final = 65401  # private use; the number PowerDNS and Knot DNS use for the same record

# Classes.
IN: Final = 1
CH: Final = 3
CLASS_NONE: Final = 254
CLASS_ANY: Final = 255

# Opcodes.
QUERY: Final = 0
NOTIFY: Final = 4
UPDATE: Final = 5

# Rcodes (RFC 6895 2.3; BADVERS from RFC 6891 6.1.3, BADCOOKIE from RFC 7873 8).
NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
YXDOMAIN: Final = 6
NOTAUTH: Final = 9
BADVERS: Final = 16
BADCOOKIE: Final = 23

# Header flag bits, in the 16-bit field after the id (RFC 1035 4.1.1, RFC 2535 6.1 for AD and CD).
QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
AD: Final = 0x0020
CD: Final = 0x0010
EDNS_DO: Final = 0x8000  # in the OPT TTL's low half (RFC 3225 3)

# EDNS option codes.
OPTION_NSID: Final = 3  # RFC 5001
OPTION_ECS: Final = 8  # RFC 7871
OPTION_COOKIE: Final = 10  # RFC 7873
OPTION_PADDING: Final = 12  # RFC 7830
OPTION_EDE: Final = 15  # RFC 8914
