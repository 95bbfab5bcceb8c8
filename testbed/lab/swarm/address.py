"""Which engine a word means: a Docker context's name, or the address of an engine, as `docker` itself would read it.

Addresses are `unix://`, `tcp://` and `ssh://`. A context brings its own TLS files; a bare `tcp://` takes those of
DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.lab.engine import engine_address

SCHEMES = ("unix", "tcp", "ssh", "http", "https")
LOCAL = ("default", "local")  # the engine that `docker` would use without a word about it
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, slots=True)
class Tls:
    """How an engine behind TLS is spoken to; files that are not there are empty."""

    authority: str
    certificate: str
    key: str
    verify: bool = True


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An engine: the word that named it, where it answers, and its TLS where it has any."""

    name: str
    url: str
    tls: Tls | None = None


def find_engine(word: str) -> EngineAddress:
    """The engine that a word means. Raises UsageError with the contexts that there are."""
    if not word:
        raise UsageError("an engine has no name", remedy="write a Docker context, or unix://, tcp:// or ssh://")
    if "://" in word:
        return _by_address(word)
    folder = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "contexts"
    contexts = {str(meta.get("Name", "")): meta for meta in map(_json, folder.glob("meta/*/meta.json"))}
    if word in contexts:
        return _by_context(word, contexts[word], folder)
    if word in LOCAL:
        return EngineAddress(word, engine_address())
    known = ", ".join(sorted(filter(None, contexts))) or "none but default"
    raise UsageError(
        f"there is no Docker context {word!r}; there are: {known}",
        remedy=f"`docker context create {word} --docker host=ssh://USER@MACHINE`, or give the engine's address",
    )


def _by_address(word: str) -> EngineAddress:
    scheme = word.partition("://")[0]
    if scheme not in SCHEMES:
        raise UsageError(f"{word}: engines do not answer at {scheme}://", remedy="write unix://, tcp:// or ssh://")
    secured = scheme == "tcp" and os.environ.get("DOCKER_TLS_VERIFY")
    folder = Path(os.environ.get("DOCKER_CERT_PATH", Path.home() / ".docker"))
    return EngineAddress(word, word, _tls(folder) if secured else None)


def _by_context(word: str, meta: dict[str, Any], folder: Path) -> EngineAddress:
    endpoint = (meta.get("Endpoints") or {}).get("docker") or {}
    url = str(endpoint.get("Host") or "")
    if not url:
        raise UsageError(f"the Docker context {word} has no address", remedy=f"`docker context inspect {word}`")
    files = folder / "tls" / hashlib.sha256(word.encode()).hexdigest() / "docker"
    return EngineAddress(word, url, _tls(files, verify=not endpoint.get("SkipTLSVerify")) if files.is_dir() else None)


def _tls(folder: Path, *, verify: bool = True) -> Tls:
    found = [str(folder / name) if (folder / name).is_file() else "" for name in TLS_FILES]
    return Tls(found[0], found[1], found[2], verify)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
