"""The paper's tables by one command: plans, trainings, evaluation, statistics, tables."""
