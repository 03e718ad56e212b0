"""Files of settings joined with the command line, which wins: what each option is set to, and from where."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from repvgg_onnx.cli.boundary import MisuseError
from repvgg_onnx.cli.options import FILE, together
from repvgg_onnx.cli.reports import STDOUT, relocated
from repvgg_onnx.cli.settings_file import MODELS, Configuration, find_configuration, read_configuration, require_known
from repvgg_onnx.errors import CheckError, RepvggOnnxError

COMMAND_LINE = "command line"
DEFAULT = "default"

_NEVER = {"config", "no-config", "show-config", "debug"}  # options that are not keys
_ONCE = {"all", "check", "fail-fast", "jobs", "json", "output", "quiet", "report"}  # keys that are about a whole run
_WHERE = "File of settings.  [default: repvgg-onnx.toml or pyproject.toml, found upward]"
_NUMBERS = "N,N"  # how options of several numbers with commas between them are shown
_LOADED, _SWITCHED_OFF, _SHOWN, _GIVEN = (f"repvgg_onnx.{name}" for name in ("loaded", "off", "shown", "given"))
_TYPES: tuple[tuple[type[Any], tuple[type, ...], str], ...] = (
    (click.types.BoolParamType, (bool,), "true or false"),
    (click.types.IntParamType, (int,), "a whole number"),
    (click.types.FloatParamType, (int, float), "a number"),
    (click.ParamType, (str,), "a text"),
)


@dataclass(frozen=True)
class Settings:
    """What the options of a command are set to.

    Attributes:
        params: value of each parameter by its name, as click makes it.
        sources: where it is from, by the same names: ``command line``, ``default``, or a key of a file.
    """

    params: dict[str, Any]
    sources: dict[str, str]


class ConfigurableCommand(click.Command):
    """A command whose options can be set in a file; of its sections those hold that match the first model."""

    conflicts: Sequence[tuple[str, str]] = ()
    """Names of parameters of which one would silently undo the other."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command with what its options are set to, or show that."""
        ctx.meta[_GIVEN] = dict(ctx.params)
        models = next(ctx.params[str(it.name)] for it in self.params if isinstance(it, click.Argument))
        models = models if isinstance(models, tuple) else (models,)
        if ctx.meta[_SHOWN]:
            for line in _shown(ctx, models):
                click.echo(line)
            return None
        ctx.params = settings_of(ctx, models[0]).params
        return super().invoke(ctx)


def settings_of(ctx: click.Context, model: Path) -> Settings:
    """What the options are set to where a model is worked on.

    Raises:
        MisuseError: two settings of a file are mutually exclusive.
        UsageError: two options of the command line do not.
    """
    params, sources = dict(ctx.meta[_GIVEN]), {}
    configuration: Configuration | None = ctx.meta[_LOADED]
    for name in params:
        source = ctx.get_parameter_source(name)
        sources[name] = DEFAULT if source is ParameterSource.DEFAULT else COMMAND_LINE
    if configuration is not None:
        keys = keys_of(ctx.command)
        for key in configuration.values.keys() & keys.keys():
            name = str(keys[key].name)
            if ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
                sources[name] = configuration.name(key)
        for glob, values in configuration.sections(model):
            for key in (key for key in values if key in keys):
                name = str(keys[key].name)
                if sources[name] != COMMAND_LINE:
                    params[name] = _value(ctx, configuration, values[key], MODELS, glob, key)
                    sources[name] = configuration.name(MODELS, glob, key)
    _settle(ctx, params, sources)
    return Settings(params, sources)


def keys_of(command: click.Command) -> dict[str, click.Option]:
    """The options that a file can set, by key: the long name without its dashes."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    named = {max(option.opts, key=len).removeprefix("--"): option for option in options}
    return {key: option for key, option in named.items() if key not in _NEVER}


def _load(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Callback of ``--config``: what the file says are the defaults of the options that are read after it."""
    off = ctx.meta.get(_SWITCHED_OFF, False)
    if off and path is not None:
        raise click.UsageError("--config and --no-config are mutually exclusive", ctx)
    configuration: Configuration | None = None
    if not (off or ctx.resilient_parsing):
        configuration = find_configuration(Path.cwd()) if path is None else read_configuration(path)
    ctx.meta[_LOADED] = configuration
    if configuration is not None:
        group = ctx.parent.command if ctx.parent is not None else None
        commands = group.commands.values() if isinstance(group, click.Group) else (ctx.command,)
        known = {key for command in commands if isinstance(command, ConfigurableCommand) for key in keys_of(command)}
        require_known(configuration, known, _ONCE & known)
        ctx.default_map = _defaults(ctx, configuration)
        _require_sections(ctx, configuration)


def _switch_off(ctx: click.Context, _parameter: click.Parameter, off: bool) -> None:
    """Callback of ``--no-config``, which comes before that of ``--config`` unless both are given."""
    ctx.meta[_SWITCHED_OFF] = off
    if off and _LOADED in ctx.meta:
        raise click.UsageError("--config and --no-config are mutually exclusive", ctx)


def _remember_shown(ctx: click.Context, _parameter: click.Parameter, shown: bool) -> None:
    """Callback of ``--show-config``."""
    ctx.meta[_SHOWN] = shown


_config_option = partial(click.option, is_eager=True, expose_value=False)
config_options = together(
    _config_option("--config", type=FILE, metavar="PATH", callback=_load, help=_WHERE),
    _config_option("--no-config", is_flag=True, callback=_switch_off, help="Read no file of settings."),
    _config_option("--show-config", is_flag=True, callback=_remember_shown, help="Print every setting and its source."),
)
"""``--config``, ``--no-config`` and ``--show-config``, for a ``ConfigurableCommand``."""


def _defaults(ctx: click.Context, configuration: Configuration) -> dict[str, Any]:
    """What click takes for options that are not on the command line, by names of parameters.

    Raises:
        MisuseError: a value does not suit its option.
    """
    keys, defaults = keys_of(ctx.command), {}
    for key, value in configuration.values.items():
        if key in keys:
            _value(ctx, configuration, value, key)
            defaults[str(keys[key].name)] = _text_of(keys[key], value, configuration.folder)
    return defaults


def _require_sections(ctx: click.Context, configuration: Configuration) -> None:
    """Every value of a section suits its option, whether the section is about a model of this run or not.

    Raises:
        MisuseError: one does not.
    """
    keys = keys_of(ctx.command)
    for glob, values in configuration.models.items():
        for key in values.keys() & keys.keys():
            _value(ctx, configuration, values[key], MODELS, glob, key)


def _value(ctx: click.Context, configuration: Configuration, value: Any, *keys: str) -> Any:
    """A value of a file as the command takes it.

    Raises:
        MisuseError: it does not suit the option.
    """
    option = keys_of(ctx.command)[keys[-1]]
    try:
        return option.process_value(ctx, _text_of(option, value, configuration.folder))
    except (click.UsageError, RepvggOnnxError) as error:
        sentence = error.message if isinstance(error, click.UsageError) else str(error)
        raise MisuseError(f"{configuration.name(*keys)}: {sentence}") from error


def _text_of(option: click.Option, value: Any, folder: Path) -> Any:
    """A value of a file as it would be on the command line: lists and tables are options given several times.

    Raises:
        CheckError: it is of another type than the option takes.
    """
    if option.multiple:
        if isinstance(value, dict):  # a table stands for NAME=VALUE
            value = [f"{name}={_joined(item)}" for name, item in value.items()]
        return tuple(_single(option, item, folder) for item in (value if isinstance(value, list) else [value]))
    if option.metavar == _NUMBERS:
        return _joined(value)
    return _single(option, value, folder)


def _joined(value: Any) -> str:
    """Numbers with commas between them."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _single(option: click.Option, value: Any, folder: Path) -> Any:
    types, words = next((types, words) for kind, types, words in _TYPES if isinstance(option.type, kind))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise CheckError(f"expected {words}, and not {value!r}")
    if option.name == "reports":
        return relocated(str(value), folder)
    is_path = isinstance(option.type, click.Path) or option.name == "json_path"
    return os.path.join(folder, str(value)) if is_path and value != STDOUT else value


def _settle(ctx: click.Context, params: dict[str, Any], sources: Mapping[str, str]) -> None:
    """Options of the command line undo those of a file that exclude them."""
    command = ctx.command
    for pair in command.conflicts if isinstance(command, ConfigurableCommand) else ():
        if not all(params[name] for name in pair):
            continue
        from_file = [name for name in pair if sources[name] != COMMAND_LINE]
        if len(from_file) == 1:
            params[from_file[0]] = None
            continue
        first, second = (f"--{name.replace('_', '-')}" for name in pair)
        if from_file:
            raise MisuseError(f"{sources[pair[1]]}: {first} and {second} are mutually exclusive")
        raise click.UsageError(f"{first} and {second} are mutually exclusive", ctx)


def _shown(ctx: click.Context, models: Sequence[Path]) -> Iterator[str]:
    """What the options are set to, as a file that says so: sources are comments, and several models are sections."""
    keys = keys_of(ctx.command)
    shared = [key for key in keys if len(models) == 1 or key in _ONCE]
    configuration: Configuration | None = ctx.meta[_LOADED]
    yield f"# {'no file of settings' if configuration is None else configuration.path}"
    yield from _lines(settings_of(ctx, models[0]), {key: keys[key] for key in shared})
    for model in models if len(models) > 1 else ():
        yield f"\n[{MODELS}.{_toml(str(model))}]"
        yield from _lines(settings_of(ctx, model), {key: keys[key] for key in keys if key not in shared})


def _lines(settings: Settings, options: Mapping[str, click.Option]) -> Iterator[str]:
    """A line for each option: its value and where that is from."""
    for key, option in sorted(options.items()):
        value = settings.params[str(option.name)]
        unset = value is None or value in ((), {}, "")
        yield f"# {key} is not set" if unset else f"{key} = {_toml(value)}  # {settings.sources[str(option.name)]}"


def _toml(value: Any) -> str:
    """A value in TOML, whose strings, numbers and lists are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(os.fspath(value) if isinstance(value, Path) else value, ensure_ascii=False)
