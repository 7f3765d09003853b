"""JWTs between quell and others, who sign and check them with OpenSSL: of callers, and to the auth service."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
import pytest

from support.processes import REPOSITORY, free_port
from support.quell import Quell

KEYS = REPOSITORY / "tests/fixtures/keys"
SECRET = "a secret of quell's callers: 32 bytes or more"


@dataclass
class AuthService:
    """An auth service that keeps what it is asked, and knows nobody."""

    url: str
    asked: list[bytes] = field(default_factory=list)


@pytest.fixture
def auth_service() -> Iterator[AuthService]:
    """It listens until the test is over."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service.asked.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """The test looks at what came."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = AuthService(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield service
    server.shutdown()
    server.server_close()


def key(name: str) -> str:
    """A key of the tests, in PEM form."""
    return (KEYS / f"{name}.pem").read_text()


def asked_by(quell: Quell, token: str) -> int:
    """The status of a request with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{quell.url}/v1/policies", headers=headers, timeout=20).status_code


@pytest.mark.parametrize(
    ("callers", "callers_algorithm", "ours", "our_algorithm"),
    [("rsa", "RS256", "ec", "ES256"), ("ec", "ES256", "rsa", "RS256"), ("ed25519", "EdDSA", "ec-p384", "ES384")],
)
def test_callers_sign_by_openssl_and_the_auth_service_checks_by_it(
    quell: Quell,
    auth_service: AuthService,
    callers: str,
    callers_algorithm: str,
    ours: str,
    our_algorithm: str,
) -> None:
    settings = {
        "AUTH_SERVICE_URL": auth_service.url,
        "AUTH_SIGNING_KEY_PATH": str(KEYS / f"{ours}.pem"),
        "QUELL_JWT_PUBLIC_KEY_PATH": str(KEYS / f"{callers}.pub.pem"),
        "QUELL_JWT_SECRET": SECRET,
    }
    quell.start(f"http://127.0.0.1:{free_port()}", **settings)
    claims = {"sub": "acme", "exp": int(time.time()) + 60}
    for signed in [
        jwt.encode(claims, key(callers), algorithm=callers_algorithm),
        jwt.encode(claims, SECRET, algorithm="HS256"),
        quell.command("token", "--id", "acme", **settings).strip(),
    ]:
        assert asked_by(quell, signed) == 200
    assert not auth_service.asked

    other = jwt.encode(claims, SECRET + "?", algorithm="HS256")
    assert asked_by(quell, other) == 401
    [request] = auth_service.asked
    read: dict[str, Any] = jwt.decode(request, key(f"{ours}.pub"), algorithms=[our_algorithm])
    assert (read["sub"], read["auth_data"]["token"]) == ("quell", other), json.dumps(read)


def test_a_token_of_quells_is_read_by_openssl(quell: Quell) -> None:
    token = quell.command("token", "--id", "acme", "--scope", "audit:read", QUELL_JWT_SECRET=SECRET).strip()
    read = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (read["sub"], read["scope"]) == ("acme", "audit:read")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET + "?", algorithms=["HS256"])
