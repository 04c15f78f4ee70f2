"""`presets`: the ready-made families of arms, and what a session lacks for one."""

from __future__ import annotations

import argparse

from daemon.protocol.arms import ArmSpec, PresetName
from daemon.protocol.commands import ReadSession, SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.presets import PRESETS, Ingredients, preset_arms
from daemon.protocol.specs import ingredients
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation, ask, session_name
from negtui.output import table


async def presets(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui presets [NAME]`"""
    output = invocation.output
    if arguments.name is None:
        output.object({"presets": {name: words for name, (words, _) in PRESETS.items()}})
        for line in table(("preset", "its arms"), [(name, words) for name, (words, _) in PRESETS.items()]):
            output.result(line)
        output.line("To use one: negtui compare NAME --preset branches")
        return OK
    async with invocation.daemon() as daemon:
        session = await ask(daemon, ReadSession(name=session_name(arguments.name)), SessionAnswer)
    has = ingredients(session.spec)
    found = {name: _arms_or_error(name, has) for name in PRESETS}
    output.object({"presets": {name: {"arms": arms, "lacks": lacks} for name, (arms, lacks) in found.items()}})
    rows = [(name, lacks or ", ".join(arm.name for arm in arms)) for name, (arms, lacks) in found.items()]
    for line in table(("preset", "its arms here"), rows):
        output.result(line)
    return OK


def _arms_or_error(name: PresetName, has: Ingredients) -> tuple[tuple[ArmSpec, ...], str]:
    """What a preset is made of here, or why it cannot be."""
    try:
        return preset_arms(name, has), ""
    except NegError as error:
        return (), str(error)
