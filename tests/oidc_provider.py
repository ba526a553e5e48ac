"""A small OpenID Connect provider: discovery, keys, a login form, codes with PKCE, signed ID tokens."""

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

KEY = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
CLIENT, SECRET = "quada", "shared with the provider"


class Provider(ThreadingHTTPServer):
    """The provider. `people` are claims by user name; `wrong` changes claims of ID tokens."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Pages)
        # Over IPv4 so that to a browser it is another site than quada at [::1].
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.back = ""
        self.people: dict[str, dict[str, Any]] = {}
        self.wrong: dict[str, Any] = {}
        self.leaves_at: Any = f"{self.issuer}/logout?realm=staff"
        self.codes: dict[str, dict[str, str]] = {}
        self.key = self.signs_with = KEY
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": asked["user"], "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], **self.people[asked["user"]], **self.wrong,
        }  # fmt: skip
        header = {"alg": "RS256", "kid": self.signs_with.kid}
        return str(jwt.encode(header, claims, self.signs_with))


class _Pages(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        issuer = self.server.issuer
        if parts.path == "/.well-known/openid-configuration":
            self.give({
                "issuer": issuer, "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token", "jwks_uri": f"{issuer}/keys",
                "end_session_endpoint": self.server.leaves_at,
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            })  # fmt: skip
        elif parts.path == "/keys":
            self.give({"keys": [self.server.key.as_dict(private=False)]})
        elif parts.path == "/authorize":
            good = (
                asked.get("client_id") == CLIENT
                and asked.get("redirect_uri") == self.server.back
                and asked.get("response_type") == "code"
                and asked.get("code_challenge_method") == "S256"
                and "openid" in asked.get("scope", "").split()
            )
            if not good:
                self.give({"error": "invalid_request"}, 400)
                return
            kept = "".join(
                f'<input type="hidden" name="{key}" value="{html.escape(value)}">'
                for key, value in asked.items()
            )
            form = f'<title>Provider</title><form method="post" action="/authorize">{kept}<label>Who <input name="user"></label><button>It is me</button></form>'
            self.give(form)
        elif parts.path == "/logout":
            good = asked.get("realm") == "staff" and asked.get("client_id") == CLIENT
            place = asked.get("post_logout_redirect_uri", "")
            if not good or place != self.server.back.removesuffix("/oidc/back"):
                self.give({"error": "invalid_request"}, 400)
                return
            self.give(f'<title>Provider</title><a href="{html.escape(place)}">You are out</a>')
        else:
            self.give({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = {key: values[0] for key, values in parse_qs(body).items()}
        if self.path == "/authorize":
            code = secrets.token_urlsafe(16)
            self.server.codes[code] = asked
            answer = {"code": code, "state": asked["state"], "iss": self.server.issuer}
            if asked["user"] not in self.server.people:
                answer = {"error": "access_denied", "state": asked["state"]}
            self.send_response(303)
            self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(answer)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        known = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '%20')}".encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        begun = self.server.codes.pop(asked.get("code", ""), None)  # a code is good once
        made = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(made).decode().rstrip("=")
        if begun is None or given not in (known, plain) or begun["code_challenge"] != challenge:
            self.give({"error": "invalid_grant"}, 400)
            return
        token = self.server.id_token(begun)
        self.give({"access_token": "x", "token_type": "Bearer", "id_token": token})

    def give(self, value: Any, status: int = 200) -> None:
        is_page = isinstance(value, str)
        body = (value if is_page else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if is_page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
