"""How well stored scores agree with people's answers: labels, measures with intervals, tables and plots."""
