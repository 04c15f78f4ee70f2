"""Sessions on disk: read, made, changed, copied, removed; their pictures and results. Free of torch; knows no sockets and no jobs."""

from daemon.protocol.specs import job_specs
from daemon.sessions.changing import change, preview, write
from daemon.sessions.checking import check, warnings
from daemon.sessions.copying import duplicate, list_files
from daemon.sessions.curation import Curation
from daemon.sessions.importing import take
from daemon.sessions.listing import row, rows
from daemon.sessions.making import apply_changes, create
from daemon.sessions.reading import SESSION_FILE, parse, read, require_session, session_names
from daemon.sessions.results import Comparisons

__all__ = [
    "SESSION_FILE",
    "Comparisons",
    "Curation",
    "apply_changes",
    "change",
    "check",
    "create",
    "duplicate",
    "job_specs",
    "list_files",
    "parse",
    "preview",
    "read",
    "require_session",
    "row",
    "rows",
    "session_names",
    "take",
    "warnings",
    "write",
]
