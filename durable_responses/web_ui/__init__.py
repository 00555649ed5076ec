"""Temporal's Web UI, served so that no foreign page can use it.

Temporal's own server of it answers to every host name, so a web page that points its name at 127.0.0.1 (DNS rebinding)
can read runs and start them; no setting changes that. So only the files are taken from it (`pages`). A program of ours
(`server`) serves them, checks `Host` and `Origin`, and passes requests on to Temporal's HTTP API, which answers only to
a host name that no page can have.
"""

ALLOWED_HOST = "nobody.invalid"
"""The only host to which Temporal's HTTP API answers. No web page can have this name: it never resolves (RFC 6761)."""
