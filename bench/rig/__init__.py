"""The benchmark's rig: starts a server on one core and the load generator on another, and measures both."""
