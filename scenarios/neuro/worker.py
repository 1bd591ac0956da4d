"""``celery -A scenarios.neuro.worker worker -B`` runs the pipelines, configured by ``NEURO_…`` variables."""

from scenarios.neuro.program import Neuro
from scenarios.neuro.settings import read

neuro = Neuro(read().value)
app = neuro.app
