"""Prints the bash completion of `edgecls`: `python packaging/complete.py > packaging/bash-completion/edgecls`."""

import argparse
import sys

from service.cli import _parser

_SCRIPT = """\
# Completion of edgecls in bash. Made by packaging/complete.py.
_edgecls() {{
    local command=${{COMP_WORDS[1]}} word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=''
    if [[ $COMP_CWORD -eq 1 ]]; then
        words='{commands}'
    elif [[ $COMP_CWORD -eq 2 && ' {groups} ' == *" $command "* ]]; then
        case $command in
{actions}
        esac
    else
        [[ ' {groups} ' != *" $command "* ]] || command+=" ${{COMP_WORDS[2]}}"
        case "$command $before" in
{choices}
        esac
        case $command in
{options}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
# Where nothing fits it is the name of a file.
complete -o default -F _edgecls edgecls
"""


def script() -> str:
    """The whole file. Options are offered after a dash, files otherwise, words where there is a choice."""
    parser = _parser()
    # argparse has no public way to ask what there is.
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001  # as said
    choices, options, actions = [], [], []
    commands: dict[str, argparse.ArgumentParser] = {}
    for name, command in found.choices.items():
        inner = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001  # as said
        if inner:
            actions.append(f"            {name}) words='{' '.join(inner[0].choices)} --help' ;;")
        commands |= {f"{name} {one}": parser for one, parser in inner[0].choices.items()} if inner else {name: command}
    for name, command in commands.items():
        names: list[str] = []
        for action in command._actions:  # noqa: SLF001  # as said
            names += [option for option in action.option_strings if option.startswith("--")]
            if action.choices and action.option_strings:
                words = " ".join(str(choice) for choice in action.choices)
                choices.append(f"            '{name} {action.option_strings[-1]}') words='{words}' ;;")
        options.append(f"            '{name}') [[ $word != -* ]] || words='{' '.join(sorted(names))}' ;;")
    return _SCRIPT.format(
        commands=" ".join((*found.choices, "--help", "--version")),
        groups=" ".join(line.split(")")[0].strip() for line in actions),
        actions="\n".join(actions),
        choices="\n".join(choices),
        options="\n".join(options),
    )


if __name__ == "__main__":
    sys.stdout.write(script())
