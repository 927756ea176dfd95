"""``serve --workers N``: one master, and N processes that serve behind its one listening socket.

The master (``supervisor``, ``process``) binds the socket and starts the workers by exec, so that each has the code
that is there when it starts. It imports neither Twisted nor Daphne: it serves nobody, so nothing that clients do
reaches it. A worker (``worker``) is the server of a single process, on the master's socket.

Between the two there is a line, a socket pair for each worker. The worker says ``ready`` and then, once a second
and from its event loop, ``alive``. The master says ``roll`` (let go of the clients: others take them) and
``died <pid>`` (another worker is gone). Where the line ends, the other is gone.
"""
