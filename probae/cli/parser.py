"""The parser of one command: jsonargparse's types, readable help, and errors of one line with the nearest name."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from probae.checks import nearest
from probae.cli.options import Option
from probae.errors import ArgumentError


class _Help(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """One name and the type in words on the left, the text on the right."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 30, **options})

    def _expand_help(self, action: argparse.Action) -> str:
        return action.help or ""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = [name for name in action.option_strings if not name.endswith("+")] or [action.dest.upper()]
        if isinstance(action, ActionYesNo) and isinstance(action.default, bool):
            names = [names[action.default]]  # the one that changes something
        value = f" {action.metavar}" if action.option_strings and action.metavar else ""
        return ", ".join(names) + value


class Parser:
    """Options in groups, and the words and configuration files that set them.

    `--latent-dim 2`, `--latent_dim 2` and `--latent_dim=2` are the same. A part with settings of its own, such as a
    likelihood, is given by its name and its settings (`--likelihood normal --likelihood.scale 0.2`) or as a whole
    (`--likelihood '{name: normal, scale: 0.2}'`).

    Args:
        command: how it is called, such as "probae train vae".
        arguments: what stands before its options, name -> text.
        text, closing: before and after the options in its help.
    """

    def __init__(self, command: str, text: str, arguments: Mapping[str, str] | None = None, closing: str = "") -> None:
        self.command = command
        self.options: dict[str, Option] = {}
        usage = " ".join([command, *(name.upper() for name in arguments or ()), "[options]"])
        self._parser = ArgumentParser(
            prog=command, usage=usage, description=text, epilog=closing, formatter_class=_Help, exit_on_error=False
        )
        for name, what in (arguments or {}).items():
            self.options[name] = Option(name, str, text=what, required=True)
            self._parser.add_argument(name, type=str, nargs="?", help=what)

    def add(self, title: str, options: Iterable[Option]) -> None:
        """One more group of options."""
        group = self._parser.add_argument_group(title)
        for option in options:
            self.options[option.name] = option
            settings: dict[str, Any] = {"help": option.help, "default": _named(option, option.default)}
            if option.is_flag:
                settings["action"] = ActionYesNo
            else:
                settings |= {"type": option.type, "metavar": option.values}
            group.add_argument(f"--{option.name}", **settings)

    def read(self, words: list[str], config: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the words say, and where they say nothing the configuration, and else the defaults.

        Raises:
            ArgumentError: names the option, with the nearest one if it is unknown.
        """
        try:
            given = self._parser.parse_args([*self._spelt(config or {}), *self._joined(words)])
        except argparse.ArgumentError as error:
            raise self._in_one_line(str(error)) from error
        for option in self.options.values():
            if option.required and given[option.name] is None:
                raise ArgumentError(option.name, option.text.rstrip(".") or option.values, "nothing")
        return {name: _bare(self.options.get(name), value) for name, value in given.as_dict().items()}

    def _spelt(self, config: Mapping[str, Any]) -> Iterator[str]:
        """A configuration as words."""
        for name, value in config.items():
            option = self._option(str(name), f"{name} in the configuration")
            if not option.is_flag:
                value = _named(option, value)
                yield f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
            elif isinstance(value, bool):
                yield f"--{name}" if value else f"--no_{name}"
            elif value is not None:
                raise ArgumentError(name, "true or false", repr(value))

    def _joined(self, words: list[str]) -> Iterator[str]:
        """The words with each value joined to its option, so that it may begin with a minus."""
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if not word.startswith("--") or word in ("--", "--help"):
                yield word
                continue
            key, equals, value = word[2:].partition("=")
            key = key.replace("-", "_")
            option = self._option(key, f"--{key}")
            if not option.is_flag and not equals:
                if not rest or rest[0].startswith("--"):
                    raise ArgumentError(f"--{key}", "a value" if "." in key else option.values, "nothing")
                equals, value = "=", rest.pop(0)
            if option.is_part and "." not in key and re.fullmatch(r"[\w-]+", value) and value != "null":
                value = json.dumps(_named(option, value.lower()))
            yield f"--{key}{equals}{value}"

    def _option(self, key: str, called: str) -> Option:
        name = key.partition(".")[0]
        for one in (name, name.removeprefix("no_")):
            if one in self.options and (one == name or self.options[one].is_flag):
                return self.options[one]
        hint = nearest(name, self.options).lstrip("; ").replace("did", "Did", 1)
        raise ArgumentError(called, f"an option of {self.command}", "an unknown one", hint or "See its --help")

    def _in_one_line(self, message: str) -> ArgumentError:
        key, got = re.match(r'Parser key "(\w+)":', message), re.search(r"(?:Got|Given) value: (.*)", message)
        if key and key[1] in self.options:
            return ArgumentError(key[1], self.options[key[1]].values, repr(got[1]) if got else "something else")
        return ArgumentError(" ".join(message.split()))


def _named(option: Option, value: Any) -> Any:
    """The name of a part as a mapping, to which settings can be added."""
    return {"name": value} if option.is_part and isinstance(value, str) else value


def _bare(option: Option | None, value: Any) -> Any:
    """The name of a part alone if no settings were added: a model may then have its own."""
    alone = option is not None and option.is_part and isinstance(value, dict) and value.keys() == {"name"}
    return value["name"] if alone else value
