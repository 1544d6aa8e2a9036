"""Everything on this machine: Valkey, the server and workers as child processes of `labelmill up`.

Owns starting, watching and draining them, not what they do.
"""
