"""Daphne, fit for the job: used by ``runserver`` and ``serve``.

What stock Daphne 4.2.3 lacks and this adds, by subclassing its public names:

- a wire for each socket (``Wire``), for ready bytes: the fast lane of chat.lanes;
- bounds on what waits, both ways: stock Daphne grew by 250 MB for one client that did not read them, and by 346 MB
  for one that sent faster than its handler took;
- sockets don't end after 24 hours, and a jump of the clock doesn't end them all;
- frames of at most 64 KiB (stock: 1 MiB), and an error of the peer is answered with its close code, not cut off;
- a close carries its reason, and may be 1011 or 1012, which are a server's to send (RFC 6455, section 7.4.1);
- the garbage collector walks through all sockets now and then, not several times a second;
- a backlog that takes a herd: with the stock 50, 1,000 connects at once take 16 s in SYN retries, here 1 s;
- SIGTERM says goodbye: it stops listening, answers what was asked, tells each client when to come back, closes
  every socket with 1012, all at once or one after another, and waits for the farewells (``Drain``);
- it takes over a socket of any family (``chatsite.workers``).

``chatsite.server.internals`` lists the private names of Daphne, Autobahn and Twisted that this package uses. The
import fails where an installed version lacks one.
"""

from chatsite.server.server import ChatServer

__all__ = ["ChatServer"]
