"""A chat under torture: real clients, a real server that is killed, and a verdict on what was kept.

`python -m torture` (see `make torture`) runs for minutes; test_torture.py is its short form.

- records: what is written down: each operation, each frame, each fault
- timeline, place, link, client: a client that behaves as the browser's does
- life, tabs: what the people do
- database, site, faults: the server, and what is done to it
- verdict, on_commands, on_streams, on_states: what must hold, found out from records and log
- run, again, report, long: the whole of it
- fake: a small server in this process that can be told to lie, to see that the verdict finds it
"""
