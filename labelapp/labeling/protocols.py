"""Protocols with their questions, kept in the process: once used, the database lets neither change."""

from collections import OrderedDict
from threading import Lock

from labelapp.models import Protocol, Question

KEPT = 256

_known: OrderedDict[int, tuple[Protocol, list[Question]]] = OrderedDict()
_lock = Lock()


def protocol_asked(protocol_id: int) -> tuple[Protocol, list[Question]]:
    """The protocol and its questions in order. Nobody may change what this returns."""
    with _lock:
        if found := _known.get(protocol_id):
            _known.move_to_end(protocol_id)
            return found
    protocol = Protocol.objects.get(pk=protocol_id)
    asked = (protocol, list(protocol.questions.all()))
    if protocol.used_at is not None:
        with _lock:
            _known[protocol_id] = asked
            while len(_known) > KEPT:
                _known.popitem(last=False)
    return asked
