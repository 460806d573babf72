"""What acts: the Agent interface, the token agent, scripted agents, and the rollout that drives them."""
