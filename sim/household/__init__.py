"""Household tasks in text and pictures: ALFWorld's games (Shridhar et al., ICLR 2021), drawn in PyBullet.

How the parts hang together:

    wheel.py        what the alfworld package ships, read as files: constants, goals, domain, grammar, floor plans
    rooms.py        a floor plan as receptacles, their poses and the object kinds; the split by room
    tasks.py        where things lie, and what is asked for, drawn from a seed
    problems.py     both as the text of a game that the engine plays
    games.py        the games of a split: generated, or those of a folder in the official layout
    scene.py        what the agent stands before, as data
    textgame.py     the game engine proper, faster than stock and with the same text; runs in a process of its own
    engine.py       that process: started, asked, replaced when it has grown
    objects.py, furniture.py, stage.py, renderer.py   the scene as a picture
    environment.py  the Gymnasium environment
    thor.py         the same games in AI2-THOR, where it runs
"""
