"""Template tags for the site's templates."""

from typing import Any

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from chat.views.modules import imported_modules
from chat.views.visitor import identity_of

register = template.Library()


@register.simple_tag(takes_context=True)
def chat_you(context: dict[str, Any]) -> str | None:
    """The key of the page's user, for its script sweep.js; "" for nobody, None if the request is not known."""
    request: HttpRequest | None = context.get("request")
    if request is None or not hasattr(request, "user"):
        return None
    identity = identity_of(request)
    return identity.public if identity else ""


@register.simple_tag
def chat_module_preloads(script: str) -> SafeString:
    """Preload links for all modules that a script imports: ``{% chat_module_preloads "chat/page/room.js" %}``."""
    links = ((static(module),) for module in imported_modules(script))
    return format_html_join("\n  ", '<link rel="modulepreload" href="{}">', links)
