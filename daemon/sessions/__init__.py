"""Sessions on disk: reading `session.toml`, making new ones, listing them. Free of torch; knows no sockets and no jobs."""

from daemon.protocol.specs import job_specs
from daemon.sessions.checking import check, warnings
from daemon.sessions.listing import row, rows
from daemon.sessions.making import apply_changes, create
from daemon.sessions.reading import SESSION_FILE, parse, read, session_names

__all__ = ["SESSION_FILE", "apply_changes", "check", "create", "job_specs", "parse", "read", "row", "rows", "session_names", "warnings"]
