"""`vote`, `votes`: judge a comparison blindly in the dashboard; what the votes say, and the votes themselves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncGenerator

from daemon.protocol.commands import ListVotes, ReadVotes, Votes, VotesAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.voting import Vote
from negtui import voting
from negtui.commands.curation import declared_comparison
from negtui.commands.dashboard import open_dashboard
from negtui.commands.exits import OK
from negtui.commands.invocation import Daemon, Invocation, ask, session_name
from negtui.voting import Voting


async def vote(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui vote NAME [COMPARISON]`: opens the dashboard on the voting screen."""
    name = session_name(arguments.name)
    fields = {field: getattr(arguments, field) or "" for field in ("arms", "num_shown", "num_trials", "repeat_share", "seed")}
    spec = voting.round_spec(fields) if any(fields.values()) else None
    voter = voting.voter_name(arguments.voter) if arguments.voter else voting.default_voter()
    async with invocation.daemon() as daemon:
        chosen = arguments.comparison or await declared_comparison(daemon, name)
        found = await ask(daemon, ReadVotes(session=name, comparison=chosen), VotesAnswer)
    if invocation.output.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        row = voting.open_row(found, voter)
        so_far = f" {voter} has answered {row.num_voted} of {row.num_trials}." if row else ""
        hint = f"Run `negtui vote {name} {chosen} --voter {voter}` in one; `negtui votes {name}` prints what the votes say."
        raise NegError("invalid", f"Pictures are judged on a terminal.{so_far}", hint)
    return await open_dashboard(arguments, invocation, Voting(name, chosen, voter, spec))


async def votes(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui votes NAME [COMPARISON]`: the table; with --csv the votes of closed rounds."""
    output, name = invocation.output, session_name(arguments.name)
    async with invocation.daemon() as daemon:
        chosen = arguments.comparison or await declared_comparison(daemon, name)
        if arguments.csv:
            output.result(voting.csv_text([vote async for vote in _votes(daemon, name, chosen)]).rstrip("\n"))
            return OK
        found = await ask(daemon, ReadVotes(session=name, comparison=chosen), VotesAnswer)
    output.object({"votes": found})
    output.result(f"{name}/{chosen}: votes")
    for line in [*voting.rounds_lines(found), "", *voting.result_lines(found)]:
        output.result(line)
    return OK


async def _votes(daemon: Daemon, session: str, comparison: str) -> AsyncGenerator[Vote, None]:
    after = 0
    while True:
        page = await ask(daemon, ListVotes(session=session, comparison=comparison, after=after), Votes)
        for vote in page.votes:
            yield vote
        after += len(page.votes)
        if after >= page.total or not page.votes:
            return
