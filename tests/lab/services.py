"""Web servers inside the lab: `services.py PEM [TEXT ADDRESS PORT]...`, TLS where the port is 443.

A text that begins with `tls-other` has the certificate `PEM.other` in place of `PEM`.
"""

import asyncio
import ssl
import sys


async def serve(pem: str, text: str, address: str, port: int) -> None:
    body = f"{text.removeprefix('tls-other ')} ".encode() * 200

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    context = None
    if port == 443:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{pem}.other" if text.startswith("tls-other") else pem)
    await asyncio.start_server(answer, address, port, ssl=context)


async def main() -> None:
    pem, *rest = sys.argv[1:]
    for text, address, port in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        await serve(pem, text, address, int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
