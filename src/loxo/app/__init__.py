"""`loxo app`: the whole job in a browser. Layout and failure policy: server.py."""
