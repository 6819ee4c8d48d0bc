"""`python -m kusciajob`: the command line."""

from kusciajob.cli.main import main

main()
