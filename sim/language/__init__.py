"""Text games: observations and actions are text. What they share is in game.py."""
