"""The one command, `abside`: options come from each room's settings; a room is imported when its command runs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from abside import __version__
from abside.environ import Setting, settings_of, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: `settings` is `module:Record`; `main` is `module:function`, from it to an exit code."""

    summary: str
    settings: str
    main: str
    extra: str = ""  # the extra that installs what the room imports
    parts: bool = False  # `--` separates parts of its arguments, and options may follow it


COMMANDS = {
    "up": Command(
        "Run agent, sidecar and collector on this machine, in the foreground.", "abside.up:UpSettings", "abside.up:main"
    ),
    "sidecar": Command(
        "Answer decisions on localhost, accept events and ship them.",
        "abside.sidecar.settings:SidecarSettings",
        "abside.sidecar.app:main",
    ),
    "agent": Command(
        "Watch the documents and publish the snapshot.",
        "abside_agent.settings:AgentSettings",
        "abside_agent.run.loop:main",
        extra="agent",
    ),
    "collector": Command(
        "Receive batches and write Parquet.",
        "abside.collector.settings:CollectorSettings",
        "abside.collector.app:main",
        extra="collector",
    ),
    "check": Command(
        "Report every problem of the documents, with file, line and remedy.",
        "abside_agent.settings:CheckSettings",
        "abside_agent.commands.check:main",
        extra="agent",
    ),
    "diff": Command(
        "Report what a change of the documents does to shoppers, and which changes are forbidden.",
        "abside_agent.settings:DiffSettings",
        "abside_agent.commands.diff:main",
        extra="agent",
    ),
    "list": Command(
        "List what runs where, since when, at which share, and what comes next.",
        "abside_agent.settings:OverviewSettings",
        "abside_agent.commands.listing.list:main",
        extra="agent",
    ),
    "explain": Command(
        "Explain what one shopper gets at a placement and why, step by step; no server needed.",
        "abside_agent.settings:ExplainSettings",
        "abside_agent.commands.explain:main",
        extra="agent",
    ),
    "simulate": Command(
        "Assign many synthetic units: shares against weights, overlap, layers.",
        "abside_agent.settings:SimulateSettings",
        "abside_agent.commands.simulate:main",
        extra="agent",
    ),
    "admission": Command(
        "Webhooks: check documents at `kubectl apply`, and inject agent and sidecar into pods.",
        "abside_agent.settings:AdmissionSettings",
        "abside_agent.admission.app:main",
        extra="agent",
    ),
    "schema": Command(
        "Print the JSON Schema of the documents, for editors.",
        "abside_agent.settings:SchemaSettings",
        "abside_agent.commands.schema:main",
        extra="agent",
    ),
    "types": Command(
        "Print the placements' configurations as types: Python or TypeScript.",
        "abside_agent.settings:TypesSettings",
        "abside_agent.commands.typed.types:main",
        extra="agent",
    ),
    "new": Command(
        "Print a commented experiment to fill in.",
        "abside_agent.settings:NewSettings",
        "abside_agent.commands.new:main",
        extra="agent",
    ),
    "set": Command(
        "Change fields of one experiment, or of several (ID field=value … -- ID …); field= takes one away.",
        "abside_agent.settings:SetSettings",
        "abside_agent.commands.set:main",
        extra="edit",
        parts=True,
    ),
    "ship": Command(
        "Copy a variant's parameters into its placements and end the experiment.",
        "abside_agent.settings:ShipSettings",
        "abside_agent.commands.ship:main",
        extra="edit",
    ),
    "plan": Command(
        "Compute the units and days that a lift needs, or the lift that so many days show.",
        "abside_agent.settings:PlanSettings",
        "abside_agent.commands.plan:main",
        extra="report",
    ),
    "spool ls": Command(
        "List a sidecar's spool: what waits, and what is in dead/ and why.",
        "abside.byhand.settings:ListSettings",
        "abside.byhand.listing:main",
    ),
    "spool cat": Command(
        "Print events of a spool as JSON lines; damaged parts are reported on stderr.",
        "abside.byhand.settings:PrintSettings",
        "abside.byhand.printing:main",
    ),
    "spool retry": Command(
        "Move files of dead/ back into the queue; a sidecar may run meanwhile.",
        "abside.byhand.settings:RetrySettings",
        "abside.byhand.returning:main",
    ),
    "report": Command(
        "Print the figures of the experiments in a collector's store.",
        "abside.report.settings:ReportSettings",
        "abside.report.begin:main",
        extra="report",
    ),
}


FORM = "--log-format"
GROUPS = {"spool": "Inspect and repair the spool of a sidecar."}


class Commands(click.Group):
    """A group that contains the names of its subcommands and imports one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        """Return the names of the subcommands, in reading order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 click's signature
        """Return one subcommand, built from its room's settings, or the group whose name its subcommands begin with."""
        room = COMMANDS.get(cmd_name)
        if room is not None:
            return _command(cmd_name, room)
        below = {name.partition(" ")[2]: one for name, one in COMMANDS.items() if name.startswith(f"{cmd_name} ")}
        commands = [_command(name, one) for name, one in below.items()]
        return click.Group(cmd_name, commands=commands, help=GROUPS[cmd_name]) if commands else None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        """Run a command. Where its log lines are JSON, an error of its command line is one too, and no usage text."""
        given = sys.argv[1:] if args is None else list(args)
        name = given[0] if given else ""
        if not _is_json(name, given[1:]):
            return super().main(args, *rest, **named)
        from abside.log import Log, setup

        setup(name, form="json")
        try:
            return sys.exit(super().main(given, *rest, **{**named, "standalone_mode": False}))
        except click.ClickException as exc:
            Log("abside.cli").error("cannot_start", reason=exc.format_message())
            sys.exit(exc.exit_code)
        except click.Abort:
            sys.exit(1)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's
        """Write the list of subcommands without importing any room."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, room.summary) for name, room in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, package_name="abside")
def main() -> None:
    """abside: experiments beside a recommendation service.

    Every option is also an environment variable: --poll-seconds is ABSIDE_POLL_SECONDS.
    """


def _is_json(name: str, given: list[str]) -> bool:
    """Whether a long-running command, or one that is none, is asked for JSON lines by its options or the variable."""
    room = COMMANDS.get(name)
    if room is not None and "log_format" not in {one.name for one in settings_of(_load(room.settings, room))}:
        return False
    asked = os.environ.get("ABSIDE_LOG_FORMAT", "")  # noqa: TID251 this is a root
    for number, option in enumerate(given):
        if option == FORM and number + 1 < len(given):
            asked = given[number + 1]
        elif option.startswith(f"{FORM}="):
            asked = option.partition("=")[2]
    return _unquoted(asked.strip()).lower() == "json"


def _command(name: str, room: Command) -> click.Command:
    record = _load(room.settings, room)

    def run(**values: Any) -> None:
        for warning in unknown(os.environ, settings_of(record), _variables):  # noqa: TID251 this is a root
            if values.get("log_format") == "json":
                from abside.log import Log

                Log("abside.cli").warning("unknown_variable", reason=warning)
            else:
                click.echo(f"abside {name}: {warning}", err=True)
        _refuse_alone(settings_of(record), values)
        sys.exit(_load(room.main, room)(record(**values)))

    params = [_param(setting) for setting in settings_of(record)]
    kind = _Parted if room.parts else click.Command
    return kind(name, callback=run, params=params, help=room.summary)


def _refuse_alone(settings: list[Setting], values: dict[str, Any]) -> None:
    """Raise UsageError for an option of the command line that has no effect without another one."""
    ctx = click.get_current_context()
    for one in settings:
        given = ctx.get_parameter_source(one.name) is click.core.ParameterSource.COMMANDLINE
        if one.beside and given and not values[one.beside]:
            raise click.UsageError(f"{one.option} goes with --{one.beside.replace('_', '-')}", ctx)


def _variables() -> set[str]:
    """Return the variables of every command; settings can be read even where the command's extra is not installed."""
    return {one.variable for room in COMMANDS.values() for one in settings_of(_load(room.settings, room))}


def _load(place: str, room: Command) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as exc:
        if not room.extra or (exc.name or "").startswith("abside"):
            raise
        hint = (
            f"this command needs {exc.name}, which the {room.extra!r} extra brings: pip install 'abside[{room.extra}]'"
        )
        raise click.ClickException(hint) from exc


def _param(setting: Setting) -> click.Parameter:
    kind = _Kind(setting.read)
    if setting.words:
        return click.Argument([setting.name], type=kind, nargs=-1 if setting.many else 1, required=setting.required)
    if setting.flag:
        return _Option(
            [setting.option], is_flag=True, default=setting.default, help=setting.help, envvar=setting.variable
        )
    # A required option must have no default at all: to click 8.3 and later an explicit None is one.
    default = {} if setting.required else {"default": setting.default}
    return _Option(
        [setting.option, setting.name],
        type=kind,
        required=setting.required,
        multiple=setting.many,
        show_default=setting.default not in (None, ()),
        help=setting.help,
        envvar=setting.variable,
        **default,
    )


class _Parted(click.Command):
    """A command whose arguments show by themselves where a part begins: to click, `--` would end its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments without the separators."""
        return super().parse_args(ctx, [one for one in args if one != "--"])


class _Option(click.Option):
    """An option that ignores blanks around its variable's value; an error names the variable a value came from."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the variable's text; None for an empty or blank one."""
        value = super().resolve_envvar_value(ctx)
        return None if value is None else _unquoted(value.strip()) or None

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the place that the value came from."""
        source = None if ctx is None else ctx.get_parameter_source(self.name or "")
        if source is click.core.ParameterSource.ENVIRONMENT:
            return f"{self.envvar} (option {self.opts[0]})"
        return super().get_error_hint(ctx)


class _Kind(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """A click type around one of environ's readers."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = read
        allowed = getattr(read, "allowed", None)
        self.name = "|".join(allowed) if allowed else read.__name__
        self.separator: str | None = getattr(read, "separator", None)

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split a variable of several values: at blanks, or at commas where values contain none."""
        separator = self.separator if self.separator is not None and self.separator in rv else None
        return [one.strip() for one in rv.split(separator) if one.strip()]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return one value as read; the message of a ValueError is shown to the person."""
        if not isinstance(value, str):
            return value
        if not _is_text(value) and not os.path.lexists(value):  # a file may have such a name, and nothing else
            self.fail(f"{value!a} is not UTF-8 text; the terminal or the script sends another encoding", param, ctx)
        try:
            return self.read(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def _is_text(value: str) -> bool:
    """Whether it is UTF-8 as it came: other bytes of a command line are lone surrogates in Python."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unquoted(value: str) -> str:
    """Cut the quotes around a whole value: `docker run --env-file` keeps them as they stand in the file."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1].strip() if is_quoted else value
