"""Logins by somebody else's word: OpenID Connect, authorization code flow with PKCE.

Authlib makes the requests, joserfc checks the signature; here are the rules of OpenID Connect
Core 3.1 about whose word is taken for what. Whoever comes in becomes a user `oidc:NAME` whose
scopes are worked out of a claim anew at every login.
"""

from __future__ import annotations

import secrets
import ssl
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from quada.console.session import VOUCHED, Person
from quada.wire.faults import PeerFault, ReachFault

if TYPE_CHECKING:
    from quada.config.settings import OidcSection

_WAITING_MAX: Final = 1_000  # logins begun and not ended
_WAITING_S: Final = 600
_KNOWN_S: Final = 3_600  # how long what a provider says of itself is believed
_TIMEOUT_S: Final = 10.0
_ASKING_S: Final = 2.0  # how long a login waits for another that asks the provider already
_AWAY_S: Final = 10  # how long a provider that did not answer is left alone
_LEEWAY_S: Final = 60  # how far clocks may be apart
_NAME_MAX: Final = 200
# Signatures by a key that only the provider has; "none" and shared secrets are not among them.
_ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)


class Refused(PeerFault):
    """The provider's word was not taken; the message is for the audit log."""

    code = "login-refused"


class Begun(NamedTuple):
    """A login that was sent to the provider."""

    nonce: str
    verifier: str
    cookie: str
    until_s: int


class Provider:
    """One provider of identities, and the logins that are on their way."""

    def __init__(self, settings: OidcSection, url: str) -> None:
        self._settings = settings
        self._url = url
        self._back = f"{url}/login/oidc/back"
        self._grants = [grant.rpartition("=")[::2] for grant in settings.grant]
        self._begun: dict[str, Begun] = {}
        self._known: tuple[int, dict[str, Any], KeySet] | None = None
        self._asking = threading.Lock()
        self._away_until_s = 0
        self._trust = ssl.create_default_context(cafile=settings.ca_file or None)

    @property
    def title(self) -> str:
        """What the button says."""
        return self._settings.title or urlsplit(self._settings.issuer).hostname or "OpenID Connect"

    def begin(self, cookie: str, now_s: int) -> str:
        """Give where to send a browser. Takes its cookie. Raises: ReachFault, Refused."""
        about, _ = self._about(now_s)
        state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        verifier = secrets.token_urlsafe(48)
        self._begun = {key: one for key, one in self._begun.items() if one.until_s > now_s}
        while len(self._begun) >= _WAITING_MAX:
            del self._begun[next(iter(self._begun))]
        self._begun[state] = Begun(nonce, verifier, cookie, now_s + _WAITING_S)
        with self._client() as client:
            url, _ = client.create_authorization_url(
                about["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def end(self, cookie: str, answer: dict[str, str], now_s: int) -> Person:
        """Give who came back from the provider. Raises: Refused, ReachFault."""
        begun = self._begun.pop(answer.get("state", ""), None)
        if begun is None or begun.until_s <= now_s:
            raise Refused("no login was begun with this state, or too long ago")
        if not cookie or not secrets.compare_digest(cookie, begun.cookie):
            raise Refused("the login was begun in another browser")
        if "error" in answer:
            raise Refused(f"the provider says {answer['error'][:100]}")
        about, keys = self._about(now_s)
        if answer.get("iss", about["issuer"]) != about["issuer"]:  # RFC 9207 2.4
            raise Refused("the answer is another provider's")
        try:
            with self._client() as client:
                token = client.fetch_token(
                    about["token_endpoint"], code=answer.get("code", ""),
                    code_verifier=begun.verifier, grant_type="authorization_code",
                )  # fmt: skip
        except OAuthError as error:
            raise Refused(f"the provider does not take the code: {error.error}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreached(error) from error
        claims = self._claims(str(token.get("id_token", "")), keys, now_s)
        if claims.get("nonce") != begun.nonce:
            raise Refused("the ID token is not for this login")
        return self._person(claims)

    def leaving(self, now_s: int) -> str:
        """Give where to send a browser to end its session at the provider too; empty if nowhere.

        No ID token is kept to hint with, so a provider may ask whether it is meant.
        Raises: ReachFault, Refused. RFC: OpenID Connect RP-Initiated Logout 1.0 2.
        """
        about, _ = self._about(now_s)
        place = about.get("end_session_endpoint")
        if not isinstance(place, str):
            return ""
        asked = {
            "client_id": self._settings.client_id,
            "post_logout_redirect_uri": f"{self._url}/login",
        }
        try:
            scheme = urlsplit(place).scheme
            url = str(httpx.URL(place).copy_merge_params(asked))
        except (httpx.InvalidURL, ValueError) as error:
            raise Refused(f"{place[:200]} is no URL") from error
        if scheme not in {"https", urlsplit(self._settings.issuer).scheme}:
            raise Refused(f"{place[:200]} is not HTTPS")
        return url

    def _claims(self, token: str, keys: KeySet, now_s: int) -> dict[str, Any]:
        """Check an ID token (OpenID Connect Core 3.1.3.7) and give what it claims."""
        rules = jwt.JWTClaimsRegistry(
            now=now_s, leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            sub={"essential": True}, exp={"essential": True}, iat={"essential": True},
        )  # fmt: skip
        try:
            try:
                claims = jwt.decode(token, keys, algorithms=list(_ALGORITHMS)).claims
            except (JoseError, ValueError):  # the provider may sign with a newer key by now
                _, keys = self._about(now_s, is_anew=True)
                claims = jwt.decode(token, keys, algorithms=list(_ALGORITHMS)).claims
            rules.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise Refused(f"the ID token is not good: {error}") from error
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._settings.client_id) != (
            self._settings.client_id
        ):
            raise Refused("the ID token is for another client")
        return dict(claims)

    def _person(self, claims: dict[str, Any]) -> Person:
        name = claims.get(self._settings.name_claim)
        if not isinstance(name, str) or not name or len(name) > _NAME_MAX or not name.isprintable():
            raise Refused(f"the ID token has no {self._settings.name_claim} to call them by")
        if self._settings.name_claim == "email" and claims.get("email_verified") is not True:
            raise Refused("the provider has not verified the e-mail address")
        given = claims.get(self._settings.claim)
        values = {given} if isinstance(given, str) else set()
        if isinstance(given, list):
            values = {one for one in given if isinstance(one, str)}
        scopes = tuple(dict.fromkeys(scope for value, scope in self._grants if value in values))
        return Person(VOUCHED + name, scopes)

    def _about(self, now_s: int, *, is_anew: bool = False) -> tuple[dict[str, Any], KeySet]:
        """Give what the provider says of itself (OpenID Connect Discovery 4), and its keys."""
        if self._known is not None and self._known[0] > now_s and not is_anew:
            return self._known[1], self._known[2]
        # Strangers may begin logins: a provider that is away must not hold all of our threads.
        if now_s < self._away_until_s or not self._asking.acquire(timeout=_ASKING_S):
            raise self._unreached(TimeoutError())
        try:
            return self._ask(now_s)
        except ReachFault:
            self._away_until_s = now_s + _AWAY_S
            raise
        finally:
            self._asking.release()

    def _ask(self, now_s: int) -> tuple[dict[str, Any], KeySet]:
        issuer = self._settings.issuer
        try:
            with httpx.Client(verify=self._trust, timeout=_TIMEOUT_S, trust_env=False) as client:
                found = client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                about = found.raise_for_status().json()
                places = [about[f"{one}_endpoint"] for one in ("authorization", "token")]
                for place in (*places, about["jwks_uri"]):
                    if urlsplit(place).scheme not in {"https", urlsplit(issuer).scheme}:
                        raise Refused(f"{place} is not HTTPS")
                keys = KeySet.import_key_set(
                    client.get(about["jwks_uri"]).raise_for_status().json()
                )
        except (httpx.HTTPError, ValueError, KeyError, TypeError, JoseError) as error:
            raise self._unreached(error) from error
        if about.get("issuer") != issuer:
            raise Refused(f"the provider calls itself {str(about.get('issuer'))[:200]}")
        self._known = (now_s + _KNOWN_S, about, keys)
        return about, keys

    def _client(self) -> Any:
        secret = self._settings.client_secret
        return OAuth2Client(
            self._settings.client_id, secret or None, scope=" ".join(self._settings.ask_for),
            redirect_uri=self._back, code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            verify=self._trust, timeout=_TIMEOUT_S, trust_env=False,
        )  # fmt: skip

    def _unreached(self, error: Exception) -> ReachFault:
        return ReachFault(
            f"the provider of identities does not answer as it should: {type(error).__name__}",
            place=self._settings.issuer, remedy="log in by password or link meanwhile",
        )  # fmt: skip
