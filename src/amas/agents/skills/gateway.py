"""The API Gateway: the way in, a snapshot of the input, and the way out, the deliverable's folder."""

from amas.agents.base import combined
from amas.agents.skills.ingest import ingest
from amas.agents.skills.publish import publish

api_gateway = combined(ingest, publish)
