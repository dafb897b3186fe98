"""The text of a profile from a URL."""

import http.client
import ipaddress
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aistart.errors import AistartError, UsageProblem, format_value
from aistart.profile.reference import read_bounded

LIMIT = 5.0  # seconds for a connection and for each part of an answer


def check_url(url: str) -> None:
    """Check that a profile may be fetched from a URL.

    Raises:
        UsageProblem: it is malformed, not https, or holds a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError here, not later
    except ValueError as error:
        raise UsageProblem(f"profile: {url!r} is not a URL: {error}.") from None
    if not parts.hostname:
        raise UsageProblem(f"profile: {url!r} names no server.")
    if "@" in parts.netloc:
        raise UsageProblem(
            "profile: a URL must not hold a user or password; a repository that needs one: "
            "git@SERVER:TEAM/REPOSITORY.git//profile.toml."
        )
    if parts.scheme == "http" and not _is_loopback(parts):
        raise UsageProblem(f"profile: {url!r}: http is for this machine only; use https.")
    if parts.scheme not in ("http", "https"):
        raise UsageProblem(
            f"profile: {url!r} must be a file, an https URL, or REPOSITORY//PATH, for example "
            "gh:team/config//profile.toml."
        )


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; from this machine, also to this machine."""

    def redirect_request(
        self, request: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, url: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(request.full_url), urlsplit(url)
        if new.scheme != "https" and not (_is_loopback(old) and _is_loopback(new)):
            raise UsageProblem(
                f"profile: {request.full_url!r} redirects to {format_value(url)}; only https is "
                "followed."
            )
        return super().redirect_request(request, fp, code, msg, headers, url)


def download(url: str) -> bytes:
    """Return the content of a URL.

    Raises:
        UsageProblem: it is too large, or redirects to where it may not.
        AistartError: the server does not answer, or not with the file.
    """
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if _is_loopback(urlsplit(url)):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"User-Agent": "aistart"})
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=LIMIT) as answer:
            return read_bounded(answer, url)
    except urllib.error.HTTPError as error:
        meaning = http.client.responses.get(error.code, "")
        status = f"{error.code} {meaning}".rstrip()
        raise AistartError(f"profile: {url!r} answers {status}.") from None
    except urllib.error.URLError as error:
        raise _unreachable_error(url, error.reason) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _unreachable_error(url, error) from None


def _unreachable_error(url: str, reason: object) -> AistartError:
    if isinstance(reason, TimeoutError):
        return AistartError(f"profile: {url!r} does not answer within {LIMIT:g} s.")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return AistartError(
            f"profile: {url!r}: {reason.verify_message.removesuffix('.')}; certificates of your "
            "own are named by SSL_CERT_FILE."
        )
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return AistartError(f"profile: {url!r}: {' '.join(str(text).split())[:200]}.")
