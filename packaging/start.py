"""The start of the single-file program: the command `loxo`; without arguments, as by a double click, the app.

Loxo starts its other processes as `sys.executable -c CODE` and `sys.executable -m MODULE`. Here, sys.executable is this
program, so it does what Python would do.
"""

import runpy
import sys


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["-c"]:
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    elif arguments[:1] == ["-m"]:
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        from loxo.app.shortcut import ARGUMENTS
        from loxo.cli import main as loxo

        if not arguments:
            sys.argv += ARGUMENTS
        loxo()


if __name__ == "__main__":
    main()
