"""``serve --workers N``: one master, and N processes that serve behind its one listening socket.

The master (``supervisor``, ``process``) binds the socket and starts the workers by exec. So each worker runs the
code that is installed when it starts. The master imports neither Twisted nor Daphne. It serves no client, so
nothing that clients do reaches it. A worker (``worker``) is the server of one process, on the master's socket.

A socket pair, the control socket, connects the master with each worker. The worker sends ``ready``, and then a
heartbeat, ``alive``, once a second from its event loop. The master sends ``roll`` (other workers take the clients:
drain and end) and ``died <pid>`` (another worker has ended). When the control socket closes, the process at its
other end is gone.
"""
