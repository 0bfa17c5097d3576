"""Which folders are mirrors of a run at a URL: those below the user's cache, and no other.

A mirror holds the file `remote.url`. In a folder that somebody sent, that file could name any URL or folder, which a
report would then change; so it counts below this user's cache alone, in a folder with the name that the URL gives.
"""

import os
import re
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from core.files import user_cache

CACHES = "VISION_ABLATION_MIRRORS"
"""environment variable: caches that this command, or the one that started it, was given; a path each, as in PATH"""


def mirror_folder(url: str, cache: Path) -> Path:
    """The mirror of the run at `url` in a cache; known as one from now on, in this process and those that it starts."""
    cache = cache.resolve()
    os.environ[CACHES] = os.pathsep.join(dict.fromkeys([*_given(), str(cache)]))
    return cache / "runs" / _name(url)


def mirrored(folder: Path) -> str | None:
    """The URL that a folder is the mirror of; None where it is none, FileNotFoundError where it does not say."""
    url = (folder / "remote.url").read_text(encoding="utf-8")
    place = folder.resolve()
    caches = {str(user_cache()), *_given()}
    return url if str(place.parent.parent) in caches and place == place.parents[1] / "runs" / _name(url) else None


def _given() -> list[str]:
    return [path for path in os.environ.get(CACHES, "").split(os.pathsep) if path]


def _name(url: str) -> str:
    parts = urlsplit(url)
    name = re.sub(r"[^\w.-]", "_", parts.path.rpartition("/")[2] or parts.netloc)
    return f"{name}-{blake2b(url.encode(), digest_size=6).hexdigest()}"
