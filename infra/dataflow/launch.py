"""What a Flex Template's launcher runs: the main job, for Dataflow. A template's parameters arrive as --name=value, all of them with a value."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from pipelines.flags import parser
from pipelines.ingest import main
from pipelines.run import command

# The cores of the launcher say nothing of how many workers fetch: without --fetch_workers, all that a host has connections for.
_OWN: Final = ("--runner=DataflowRunner", "--workers=1000")


def arguments(given: Sequence[str]) -> list[str]:
    """The main job's arguments from a template's: switches lose their value, what may be given again is cut at commas, empty ones go."""
    actions = {name: action for action in parser()._actions for name in action.option_strings}
    found = [*_OWN]
    for argument in given:
        name, assigned, value = argument.partition("=")
        action = actions.get(name)
        if not assigned or action is None:
            found.append(argument)
        elif isinstance(action, argparse._StoreTrueAction):
            found += [name] if value.lower() == "true" else []
        elif isinstance(action, argparse._AppendAction):
            found += [f"{name}={part.strip()}" for part in value.split(",") if part.strip()]
        else:
            found += [argument] if value else []
    return found


if __name__ == "__main__":
    sys.exit(command(lambda: main(arguments(sys.argv[1:]))))
