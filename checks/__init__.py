"""The checks of ``make lint`` that need code; ``python -m checks`` runs them and the tools beside them."""
