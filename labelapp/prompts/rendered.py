"""Rendered texts, kept in the process: the same completion is read by several people, and again after a reload."""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock

from django.utils.safestring import SafeString
from django.utils.translation import get_language

from labelapp.prompts.rendering import render_markdown

CHARACTERS = 16 * 1024 * 1024
"""How much HTML is kept, in characters."""

_known: OrderedDict[bytes, SafeString] = OrderedDict()
_lock = Lock()
_size = 0


def markdown_kept(text: str) -> SafeString:
    """What `render_markdown` returns for the text, from before where it is known."""
    global _size
    key = blake2b(f"{get_language()}:{text}".encode(errors="surrogatepass"), digest_size=20).digest()
    with _lock:
        if found := _known.get(key):
            _known.move_to_end(key)
            return found
    made = render_markdown(text)
    with _lock:
        if key not in _known:
            _known[key] = made
            _size += len(made)
        while _size > CHARACTERS:
            _size -= len(_known.popitem(last=False)[1])
    return made
