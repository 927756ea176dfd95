"""People who can be known again: with an account, or with a name in their browser's session; and the staff."""

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.test import AsyncClient, Client
from helpers import CommunicatorPersona, Enter

from chat.auth import GUEST_NAME


async def member(person: Enter, name: str) -> CommunicatorPersona:
    """Somebody who is signed in, from another browser each time."""
    user, _ = await User.objects.aget_or_create(username=name)
    client = AsyncClient()
    await client.aforce_login(user)
    persona: CommunicatorPersona = await person(name, headers=browser(client.cookies["sessionid"].value))
    return persona


async def guest(person: Enter, name: str) -> CommunicatorPersona:
    """Somebody who chose a name on the page, in a browser of their own each time."""
    session = SessionStore()
    session[GUEST_NAME] = name
    await session.acreate()
    persona: CommunicatorPersona = await person(name, headers=browser(session.session_key or ""))
    return persona


def browser(session_key: str) -> dict[str, str]:
    """Headers that a browser sends with a socket of our page."""
    return {"cookie": f"sessionid={session_key}", "origin": "http://localhost"}


def olga(client: AsyncClient | Client, *permissions: str) -> User:
    """Sign in Olga of the staff, with these permissions only."""
    user = User.objects.create_user("Olga", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="chat", codename__in=permissions))
    client.force_login(user)
    return user


async def staff(client: AsyncClient, *permissions: str) -> User:
    """The same, where a loop runs."""
    return await sync_to_async(olga)(client, *permissions)
