"""A name server on loopback whose answers a test writes down."""

import socket
import threading
from collections.abc import Callable
from typing import Literal

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Found = tuple[str, ...] | Literal["unknown", "broken", "silent"]


class NameServer:
    """Answers questions for A and AAAA by `found`, a function of the name: addresses, or that there is no such name, or that the server is
    broken (SERVFAIL), or nothing. `asked`: names and types, in order of arrival. While it is entered; `address` is what resolvers take.
    """

    def __init__(self, found: Callable[[str], Found]):
        self.found = found
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> "NameServer":
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"", self._socket.getsockname())  # an empty datagram ends the thread
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            answer = self.answer(data)
            if answer is not None:
                self._socket.sendto(answer, client)

    def answer(self, data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        [question] = query.question
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        found = self.found(name)
        if found == "silent":
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if isinstance(found, str):
            reply.set_rcode(dns.rcode.NXDOMAIN if found == "unknown" else dns.rcode.SERVFAIL)
        else:
            fitting = [address for address in found if (":" in address) == (kind == "AAAA")]
            if fitting:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *fitting))
        return reply.to_wire()
