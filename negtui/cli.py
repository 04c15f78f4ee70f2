"""The command line. Commands are imported when they are called, so that `negtui --help` costs next to nothing."""

from __future__ import annotations

import argparse
import os
import sys

TYPE_CHECKING = False  # `typing` alone would be a third of the cost of --help
if TYPE_CHECKING:
    from typing import Protocol, TextIO

    from negtui.commands.invocation import Connect

    class _Add(Protocol):
        def __call__(self, name: str, handler: str, help: str, aliases: tuple[str, ...] = ()) -> argparse.ArgumentParser: ...


DESCRIPTION = "The workbench for negative LoRAs: make SDXL paint badly on purpose, train a LoRA on it, see whether its opposite is better."

EPILOG = """\
first steps:
  negtui                                  the dashboard: everything below by keyboard; ? there tells the keys
  negtui run toy                          the whole experiment on the embedded toy model
  negtui new mine --template wrong --model DIR|FILE|HUB-ID --refiner R --vae V
  negtui run mine                         the same on your weights

exit codes:
  0  ok
  1  a job failed
  2  usage, or something asked for that cannot be
  3  no daemon, or no connection to it
  4  cancelled, paused or interrupted; jobs of an interrupted command go on
  5  blocked: no room on the disk, for example

A job may be named by the beginning of its id. The daemon is started when needed; leaving never stops it or a job.
Options are read from the command line, then NEGTUI_CONNECT and NEGTUI_WORKSPACE, then connect and workspace in
~/.config/negtui/config.toml (NEGTUI_CONFIG names another file; negtui config show)."""

PRESETS = ("three", "placebo", "branches", "scales", "checkpoints", "guidance", "subject", "inversion", "keywords")


def main(
    argv: list[str] | None = None, *, connect: Connect | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None
) -> int:
    """Run one command; returns the exit code. `connect` and the streams may be replaced, as tests do."""
    parser = build_parser()
    arguments = parser.parse_args(argv, _defaults())
    arguments.help_text = "" if arguments.command else parser.format_help()
    if not arguments.command and connect is None and not arguments.json and _may_draw():
        arguments.handler = "dashboard:dashboard"
    from negtui.dispatch import dispatch

    return dispatch(arguments, connect=connect, stdout=stdout, stderr=stderr)


def _may_draw() -> bool:
    """Whether there is a terminal, or a browser in its place (`negtui serve`)."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; `handler` of a parsed one is `module:function` below `negtui.commands`."""
    common = _common_options()
    parser = argparse.ArgumentParser(
        prog="negtui", description=DESCRIPTION, epilog=EPILOG, parents=[common], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version and leave")
    _add_dashboard_options(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(name: str, handler: str, help: str, aliases: tuple[str, ...] = ()) -> argparse.ArgumentParser:
        made = commands.add_parser(name, aliases=aliases, help=help, description=help, parents=[common])
        made.set_defaults(handler=handler)
        return made

    _add_sessions(add)
    _add_acts(add)
    _add_jobs(add)
    _add_config(add)
    _add_completion(add)
    _add_pictures(add)
    _add_serve(add)
    add("status", "service:status", "the daemon, its workers and its open jobs")
    daemon = commands.add_parser("daemon", help="start, stop or look at the daemon", parents=[common])
    actions = daemon.add_subparsers(metavar="start|stop|status", dest="action", required=True)
    for action, words in (
        ("start", "start it, unless it runs"),
        ("stop", "stop it at its job's next step; the job goes on at the next start"),
        ("status", "as `negtui status`"),
    ):
        actions.add_parser(action, help=words, description=words, parents=[common]).set_defaults(handler=f"service:{action}")
    return parser


def _add_dashboard_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the dashboard: negtui without a command, on a terminal")
    group.add_argument("--read-only", action="store_true", help="look, and refuse whatever changes something")
    group.add_argument("--ascii", action="store_true", help="draw with nothing but ASCII")
    group.add_argument("--images", choices=("auto", "kitty", "sixel", "half", "off"), help="how pictures are drawn; NEGTUI_IMAGES too")


def _add_config(add: _Add) -> None:
    config = add("config", "settings:show", "the configuration file: where it is, what is in force, whether it is right")
    actions = config.add_subparsers(metavar="path|show|validate", dest="action", required=True)
    for action, words in (
        ("path", "print where it is"),
        ("show", "print the settings in force"),
        ("validate", "check it: names, kinds, the theme, keys taken twice"),
    ):
        actions.add_parser(action, help=words, description=words).set_defaults(handler=f"settings:{action}")


def _add_pictures(add: _Add) -> None:
    show = add("show", "show:show", "print a picture in the terminal")
    show.add_argument("picture", metavar="FILE|ID", help="a file, the beginning of a picture's id, or SESSION/dataset/NAME.png")
    show.add_argument("--width", metavar="COLUMNS", type=_cells, help="at most so many cells wide; the terminal's width")
    show.add_argument("--height", metavar="ROWS", type=_cells, help="at most so many cells high; the terminal's height, at most 40")
    show.add_argument("--info", action="store_true", help="what the file says of itself, in the picture's place")
    doctor = add("doctor", "doctor:doctor", "look at the terminal, the daemon, the GPU and the disk; what is wrong, what to do")
    for command in (show, doctor):
        images = ("auto", "kitty", "sixel", "half", "off")
        command.add_argument("--images", choices=images, default=argparse.SUPPRESS, help="how pictures are drawn; NEGTUI_IMAGES too")
        command.add_argument("--ascii", action="store_true", default=argparse.SUPPRESS, help="draw with nothing but ASCII")


def _add_completion(add: _Add) -> None:
    completion = add("completion", "completion:completion", "print what completes commands in your shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "words"), help="words: what the rest of the line may become")
    completion.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    add("man", "man:man", "print the manual page: negtui man | man -l -")


def _add_serve(add: _Add) -> None:
    serve = add("serve", "serve:serve", "the dashboard in a browser on this machine")
    serve.add_argument("--port", metavar="N", type=int, default=8017, help="of the loopback address (8017)")
    serve.add_argument("--read-only", action="store_true", help="look, and refuse whatever changes something")


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("negtui")
        except PackageNotFoundError:
            found = "(not installed)"
        parser.exit(0, f"negtui {found}\n")


def _defaults() -> argparse.Namespace:
    return argparse.Namespace(json=False, quiet=False, detach=False, connect=None, workspace=None, handler="service:overview")


def _common_options() -> argparse.ArgumentParser:
    """Options that stand before or after the command; without defaults, so that the one place does not undo the other."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("options of every command")
    group.add_argument("--json", action="store_true", help="print JSON: one object, or a line per event where jobs are followed")
    group.add_argument("--connect", metavar="ENDPOINT", help="another daemon: ssh://[user@]host[:port][/workspace] or ipc:///path/ctl")
    group.add_argument("--workspace", metavar="DIR", help="the folder that holds sessions/")
    group.add_argument("--detach", action="store_true", help="submit, print the jobs' ids and leave")
    group.add_argument("--quiet", "-q", action="store_true", help="no progress, results only")
    return common


def _add_sessions(add: _Add) -> None:
    new = add("new", "sessions:new", "make a session from a template, checked before it is written")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--template", metavar="T", help="toy, wrong (SDXL), or another session; wrong with --model, else toy")
    new.add_argument("--model", metavar="M", help="toy, a diffusers folder, a .safetensors checkpoint, or a hub id")
    new.add_argument("--refiner", metavar="R", help="as --model; `none` paints with the base alone")
    new.add_argument("--vae", metavar="V", help="replaces the model's VAE, e.g. madebyollin/sdxl-vae-fp16-fix; `none` keeps its own")
    new.add_argument("--dtype", choices=("auto", "float32", "float16", "bfloat16"), help="precision of the weights")
    new.add_argument("--allow-download", action="store_true", help="fetch hub ids that are not in the local cache")
    new.add_argument("--set", action="append", metavar="SECTION.FIELD=VALUE", help="another setting, e.g. training.rank=8; may be repeated")
    new.add_argument("--skip-checks", action="store_true", help="do not look at the model and the room there is")
    add("sessions", "sessions:list_sessions", "list the sessions")
    check = add("check", "sessions:check", "check a session's session.toml, its model and the room there is")
    check.add_argument("name", metavar="NAME")
    _add_editing(add)
    _add_curation(add)


def _add_editing(add: _Add) -> None:
    change = add("set", "sessions:change", "change settings of a session where they stand; comments stay")
    change.add_argument("name", metavar="NAME")
    change.add_argument("changes", metavar="SECTION.FIELD=VALUE", nargs="+", help="e.g. training.rank=8; none takes a setting away")
    change.add_argument("--skip-checks", action="store_true", help="do not look at the model and the room there is")
    duplicate = add("duplicate", "sessions:duplicate", "copy a session, without its caches and checkpoints")
    duplicate.add_argument("name", metavar="NAME")
    duplicate.add_argument("new_name", metavar="NEW-NAME")
    duplicate.add_argument("--settings-only", action="store_true", help="no pictures, adapters, comparisons")
    export = add("export", "packing:export", "pack a session into one file, for another host")
    export.add_argument("name", metavar="NAME")
    export.add_argument("file", metavar="FILE", nargs="?", help="where to, on this machine; NAME.negtui.zip here, unless given")
    export.add_argument("--checkpoints", action="store_true", help="also the checkpoints of unfinished trainings")
    export.add_argument("--cache", action="store_true", help="also what can be computed again")
    take = add("import", "packing:take", "take a packed session, verified file by file")
    take.add_argument("file", metavar="FILE", help="what `negtui export` wrote; with --connect, a path on that host from / on")
    take.add_argument("--name", metavar="NEW", help="another name than it had")
    delete = add("delete", "sessions:delete", "delete a session and all its files, for good")
    delete.add_argument("name", metavar="NAME")
    delete.add_argument("--typed", metavar="NAME", help="its name once more, where nobody is there to type it")


def _add_curation(add: _Add) -> None:
    images = add("images", "curation:images", "list the pictures of a session, and what was decided on them")
    mark = add("mark", "curation:mark", "keep, reject or tag pictures; what is rejected is not trained on")
    for command in (images, mark):
        command.add_argument("name", metavar="NAME")
        command.add_argument("--class-images", action="store_true", help="those of class_images/, not of dataset/")
        for status, words in (("keep", "kept"), ("reject", "rejected"), ("undecided", "undecided")):
            help = f"only those that are {words}" if command is images else f"they are {words}"
            command.add_argument(f"--{status}", dest="status", action="store_const", const=status, help=help)
    images.add_argument("--keyword", metavar="K", help="only those of one keyword")
    images.add_argument("--tag", metavar="T", action="append", default=[], help="only those with this tag; may be repeated")
    mark.add_argument("ids", metavar="ID", nargs="+", help="the picture's id, or its beginning")
    mark.add_argument("--tag", metavar="T", action="append", default=[], help="add a tag, e.g. too-good; may be repeated")
    mark.add_argument("--untag", metavar="T", action="append", default=[], help="take a tag away; may be repeated")
    plan = add("plan", "curation:plan", "what a synthesis would take: pictures, time, disk")
    plan.add_argument("name", metavar="NAME")
    plan.add_argument("--set", action="append", metavar="SECTION.FIELD=VALUE", help="as if this were set; may be repeated")
    results = add("results", "curation:results", "what came of a comparison: means, claims, differences, verdict")
    results.add_argument("name", metavar="NAME")
    results.add_argument("--save", metavar="FOLDER", help="bring report, contact sheets and tables into this folder here")
    results.add_argument("--comparison", metavar="C", help="its output_name; the one declared in session.toml, unless given")
    results.add_argument(
        "--sweep", metavar="S", nargs="?", const="default", help="a sweep instead, by its output_name; default, unless given"
    )
    results.add_argument(
        "--all", action="store_true", help="every difference, also those of the look that are not clear, and the guidance step by step"
    )
    _add_votes(add)
    add("load", "models:load", "have a session's model in the worker's memory").add_argument("name", metavar="NAME")
    add("unload", "models:unload", "have the worker give its memory back")


def _add_votes(add: _Add) -> None:
    vote = add("vote", "voting:vote", "judge a comparison blindly, in the dashboard: which picture is better?")
    votes = add("votes", "voting:votes", "what the votes on a comparison say: win rates, strengths, consistency, verdict")
    for command in (vote, votes):
        command.add_argument("name", metavar="NAME")
        command.add_argument("comparison", metavar="COMPARISON", nargs="?", help="its output_name; the one declared, unless given")
    vote.add_argument("--voter", metavar="V", help="who votes; your user name, unless given")
    vote.add_argument("--arms", metavar="A,B,...", help="only these arms, separated by commas")
    vote.add_argument("--shown", dest="num_shown", metavar="2|3", help="pictures at once (2)")
    vote.add_argument("--trials", dest="num_trials", metavar="N", help="so many questions; all, unless given")
    vote.add_argument("--repeats", dest="repeat_share", metavar="SHARE", help="the share of questions that is asked again (0.1)")
    vote.add_argument("--seed", metavar="N", help="of the order and the places; another one for each round of a voter, unless given")
    vote.add_argument(
        "--images", choices=("auto", "kitty", "sixel", "half", "off"), default=argparse.SUPPRESS, help="how pictures are drawn"
    )
    votes.add_argument("--csv", action="store_true", help="the votes of closed rounds themselves")


def _add_acts(add: _Add) -> None:
    run = add("run", "running:run", "all three acts of a session: synthesise, train, compare")
    synthesise = add("synthesise", "running:synthesise", "act 1: paint deliberately bad pictures", ("synthesize",))
    train = add("train", "running:train", "act 2: train a LoRA on them, or on a folder of your own images")
    merge = add("merge", "merging:merge", "make one adapter of several: those of [[merging]], or as said here")
    _add_merge_options(merge)
    compare = add("compare", "running:compare", "act 3: paint and measure the arms")
    sweep = add("sweep", "sweeping:sweep", "paint one arm over a grid of checkpoints, weights, guidance; what clearly loses stops early")
    _add_sweep_options(sweep)
    for act in (run, synthesise, train, merge, compare, sweep):
        act.add_argument("name", metavar="NAME")
    train.add_argument("--images", metavar="FOLDER", help="train on the images of this folder, not on the session's dataset/")
    for act in (run, compare):
        act.add_argument("--full", action="store_true", help="compare on all prompts, not the first num_prompts")
    compare.add_argument("--preset", choices=PRESETS, help="a ready-made family of arms, not those the session declares; negtui presets")
    presets = add("presets", "presets:presets", "list the ready-made families of arms; of a session, with what it lacks for one")
    presets.add_argument("name", metavar="NAME", nargs="?")


def _add_merge_options(merge: argparse.ArgumentParser) -> None:
    merge.add_argument("--adapters", nargs="+", metavar="NAME=WEIGHT", help="adapters of the session, e.g. wrong=1.0 subject=0.7")
    merge.add_argument(
        "--combination", dest="combination_type", metavar="TYPE", help="peft's combination_type: cat (default), svd, ties, ..."
    )
    merge.add_argument("--output", dest="output_name", metavar="NAME", help="the merged adapter's name; merged, unless given")
    merge.add_argument("--density", metavar="SHARE", help="of ties, dare_*, magnitude_prune: the share of weights that they keep")
    merge.add_argument("--svd-rank", metavar="R", help="of svd and *_svd: the rank; the highest of the parents, unless given")
    merge.add_argument("--majority-sign-method", choices=("total", "frequency"), help="how ties and dare_ties elect a sign")
    merge.add_argument("--seed", metavar="N", help="of what dare_* drops")


def _add_sweep_options(sweep: argparse.ArgumentParser) -> None:
    sweep.add_argument(
        "--checkpoints", nargs="+", metavar="STEP", help="steps at which the training kept its adapter; final: the finished one"
    )
    sweep.add_argument("--weights", nargs="+", metavar="W", help="of the adapter, e.g. 0.5 1 1.5")
    sweep.add_argument("--guidance-scales", nargs="+", metavar="G", help="e.g. 3 5 7.5")
    sweep.add_argument(
        "--windows", dest="guidance_windows", nargs="+", metavar="START-END", help="guidance_start and guidance_end: 0-1 0-0.8"
    )
    sweep.add_argument("--adapter", metavar="A", help="whose checkpoint and weight change; the arm's first, unless given")
    sweep.add_argument("--output", dest="output_name", metavar="NAME", help="the sweep's name")
    sweep.add_argument("--num-prompts", metavar="N", help="only the first N prompts; 0: all")
    sweep.add_argument("--seeds", nargs="+", metavar="S", help="in the place of the comparison's")
    sweep.add_argument("--metric", metavar="M", help="what decides, e.g. flaw_probability")
    sweep.add_argument("--first-look", metavar="N", help="cells race from so many blocks on, and whenever these have doubled")
    sweep.add_argument("--no-racing", dest="racing", action="store_const", const=False, help="paint every cell to the end")


def _add_jobs(add: _Add) -> None:
    follow = add("follow", "following:follow", "follow jobs to their end")
    follow.add_argument("jobs", metavar="JOB", nargs="+")
    jobs = add("jobs", "jobs:list_jobs", "list the jobs, oldest first")
    jobs.add_argument("--session", metavar="S", help="only those of one session")
    jobs.add_argument("--limit", metavar="N", type=int, default=100, help="only the newest N (100)")
    logs = add("logs", "following:logs", "what a job has told")
    logs.add_argument("job", metavar="JOB")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    for name, words in (
        ("cancel", "cancel a job; what it has made stays"),
        ("pause", "stop a job at its next step, to go on later"),
        ("resume", "let a paused, blocked, failed or cancelled job go on from what is on the disk"),
    ):
        add(name, f"jobs:{name}", words).add_argument("job", metavar="JOB")
    _add_orders(add)
    prioritise = add("prioritise", "jobs:prioritise", "set a job's priority; the highest runs first")
    prioritise.add_argument("job", metavar="JOB")
    prioritise.add_argument("priority", metavar="N", type=int, help="-100 to 100; 0 is usual")


def _add_orders(add: _Add) -> None:
    for name, words in (
        ("sample", "paint sample pictures from a running training, now"),
        ("checkpoint", "write a checkpoint of a running training, now"),
        ("keep", "end a running training here and keep its adapter as it stands"),
    ):
        add(name, f"jobs:{name}", words).add_argument("job", metavar="JOB")
    rate = add("lr", "jobs:learning_rate", "set the learning rate of a running training", ("learning-rate",))
    rate.add_argument("job", metavar="JOB")
    rate.add_argument("learning_rate", metavar="RATE", type=_rate, help="e.g. 5e-5, in the place of training.learning_rate")


def _cells(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cells, e.g. 60")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, e.g. 5e-5")
    return value


if __name__ == "__main__":
    sys.exit(main())
