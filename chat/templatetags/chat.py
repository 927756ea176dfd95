"""For the site's templates."""

from typing import Any

from django import template
from django.http import HttpRequest

from chat.views.visitor import identity_of

register = template.Library()


@register.simple_tag(takes_context=True)
def chat_you(context: dict[str, Any]) -> str | None:
    """The key of who asks for the page, for its script sweep.js; "" for nobody, None where that is not known."""
    request: HttpRequest | None = context.get("request")
    if request is None or not hasattr(request, "user"):
        return None
    identity = identity_of(request)
    return identity.public if identity else ""
