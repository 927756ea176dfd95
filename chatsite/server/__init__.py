"""A Daphne for production: ``runserver`` and ``serve`` use it.

It subclasses Daphne 4.2.3 and adds what stock Daphne lacks:

- Each socket has a ``Wire``, which sends bytes that are whole frames already (chat.transport.WireTransport).
- Queues are bounded in both directions. Stock Daphne grew by 250 MB for one client that did not read, and by
  346 MB for one that sent faster than its handler took.
- Sockets don't end after 24 hours, and a jump of the wall clock doesn't end them all.
- Frames have at most 64 KiB (stock: 1 MiB). A client's error is answered with a close code, not with a reset.
- A close carries its reason, and may be 1011 or 1012, which only a server sends (RFC 6455, section 7.4.1).
- The garbage collector walks through all sockets now and then, not several times a second.
- SIGTERM starts a ``Drain``. The server stops listening and answers pending requests. It tells each client when to
  reconnect, closes every socket with 1012, all at once or one after another, and waits for the close handshakes.
- It adopts a listening socket of any address family (``chatsite.workers``).

``chatsite.server.internals`` lists the private names of Daphne, Autobahn and Twisted that this package uses. The
import fails where an installed version lacks one.
"""

from chatsite.server.server import ChatServer

__all__ = ["ChatServer"]
