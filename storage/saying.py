"""What a database says, as one sentence without a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, quote_plus

from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from ..errors import StoreError

HIDDEN = "***"


def shown(url: str) -> str:
    """The URL with its password hidden, also one among the parameters."""
    parsed = make_url(url)
    secrets = [name for name in parsed.query if "password" in name.lower()]
    return parsed.update_query_dict(dict.fromkeys(secrets, HIDDEN)).render_as_string(hide_password=True)


def without_password(text: str, url: str) -> str:
    """A text in which the password of ``url`` stands for nothing, whether quoted or not."""
    for secret in _secrets(make_url(url)):
        for written in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(written, HIDDEN)
    return text


def guessed(text: str) -> str:
    """What is no URL, with what may be a password in it hidden."""
    return re.sub(r"(//|:).*@", rf"\1{HIDDEN}@", text, flags=re.DOTALL)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what the database says into one sentence."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        reason = without_password(first_line(getattr(cause, "orig", None) or cause or error), url)
        raise StoreError(
            f"the store {shown(url)} failed: {reason}: check that the place exists, is writable and has room"
        ) from error


def first_line(error: object) -> str:
    """What an error says before its details."""
    return str(error).strip().split("\n")[0]


def _secrets(url: URL) -> list[str]:
    found = [url.password, *(value for name, value in url.query.items() if "password" in name.lower())]
    return [str(each) for each in found if isinstance(each, str) and each]
