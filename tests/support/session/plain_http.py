"""What tests give HTTP clients as `verify` for servers without TLS, as front ends on loopback are.

A client that is given nothing loads the certificates of all authorities: more CPU than a hundred requests take.
"""

import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
