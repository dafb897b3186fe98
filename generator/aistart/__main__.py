from aistart.cli import main

main()
