"""TLS: credentials, who may come by it, and its sessions, by the ssl module of Python."""
