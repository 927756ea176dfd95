"""What the staff fills in: accounts and rooms by their names, as text, for there may be a million of each."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from chat import models, protocol
from chat.actions.ban_form import GUEST_PATTERN
from chat.admin.cluster import guests_at
from chat.auth import Identity
from chat.limits import is_shared_address

Kind = models.Room.Kind

"""A guest's key, as messages have it: with the name at its end, or without."""

WHOM = {"account", "guest", "address"}
"""The fields of whom a restriction is for."""


class AccountField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic only in the stubs
    """An account, by its name."""

    widget = AdminTextInputWidget
    default_error_messages = {"invalid_choice": _("There is no account with the name “%(value)s”.")}

    def __init__(self, **options: Any) -> None:
        accounts = get_user_model()
        super().__init__(accounts._default_manager.all(), to_field_name=accounts.USERNAME_FIELD, **options)  # noqa: SLF001 Django's documented name


class RoomField(forms.ModelChoiceField):  # type: ignore[type-arg]  # as above
    """A room, by its name in addresses."""

    widget = AdminTextInputWidget
    default_error_messages = {"invalid_choice": _("There is no room with the name “%(value)s” in addresses.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(models.Room.objects.all(), to_field_name="slug", **options)


def _on_one_line(clean: Callable[[str], str], text: str) -> str:
    """A title or a reason as the wire takes it."""
    try:
        return clean(text) if text else ""
    except ValueError as error:
        raise ValidationError(_("This %(reason)s."), params={"reason": error}) from None


# --- Rooms ---


class RoomForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """A room never crosses between public and not: its name would be known, or be one that nobody can guess."""

    class Meta:
        model = models.Room
        fields = ("slug", "title", "kind", "archived", "read_only", "slow")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        new = self.instance.pk is None
        if "slug" in self.fields:
            self.fields["slug"].required = False
            # It is made of what people call the room; the model looks at what was made.
            self.fields["slug"].validators = []
            self.fields["slug"].help_text = _("Of public rooms. The others get one that nobody can guess.")
        if isinstance(kind := self.fields.get("kind"), forms.ChoiceField):
            here = (Kind.PUBLIC, Kind.MEMBERS, Kind.PRIVATE) if new else (Kind.MEMBERS, Kind.PRIVATE)
            kind.choices = [(kind.value, kind.label) for kind in here]
            kind.error_messages["invalid_choice"] = (
                _("Choose public, members or private: a direct room is made by the two who talk in it.")
                if new
                else _(
                    "Choose members or private: a room that is not public never becomes public, nor one of two."
                )
            )

    def clean_title(self) -> str:
        return _on_one_line(protocol.clean_title, self.cleaned_data["title"])

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        kind, slug = given.get("kind"), given.get("slug", "")
        if self.instance.pk or kind is None or "slug" in self.errors:
            return given
        if kind != Kind.PUBLIC:
            if slug:
                self.add_error("slug", _("Leave it empty: only public rooms have a name that people choose."))
            given["slug"] = models.new_hidden_slug()
        elif made := protocol.slug_of(slug or given.get("title", "")):
            given["slug"] = made
        else:
            self.add_error("slug", _("A public room needs one: small letters of English, digits, “-” and “_”."))
        return given


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    user = AccountField(label=_("Account's name"))

    class Meta:
        model = models.Membership
        fields = ("user", "role")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.pk and "user" in self.fields:
            # Somebody else's membership is another one.
            self.fields["user"].disabled = True
            self.initial["user"] = self.instance.user

    def clean(self) -> dict[str, Any]:
        """The table's constraint is not asked where the room is that of the page."""
        given = super().clean() or self.cleaned_data
        room, user = given.get("room"), given.get("user")
        if room and room.pk and user and room.memberships.filter(user=user).exclude(pk=self.instance.pk).exists():
            self.add_error("user", _("This account is in this room already."))
        return given


class MembershipOfRoomForm(MembershipForm):
    """The same, on a page of its own."""

    room = RoomField(label=_("Room"), help_text=_("Its name in addresses."))

    class Meta:
        model = models.Membership
        fields = ("room", "user", "role")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.pk and "room" in self.fields:
            self.fields["room"].disabled = True
            self.initial["room"] = self.instance.room

    def clean_room(self) -> models.Room:
        room: models.Room = self.cleaned_data["room"]
        if room.kind == Kind.DIRECT:
            raise ValidationError(_("A direct room is of the two who talk in it, and of nobody else."))
        return room


# --- Restrictions ---


class RestrictionForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """Who it is for: an account, or a guest, or an address, or a guest and the address they come from."""

    room = RoomField(label=_("Room"), required=False, help_text=_("Its name in addresses; empty: everywhere."))
    account = AccountField(label=_("Account's name"), required=False)
    guest = forms.CharField(
        label=_("Guest"),
        required=False,
        strip=True,
        max_length=models.AUTHOR_LENGTH,
        help_text=_("guest:… as it stands beside their messages: a browser's session, whatever the name."),
        widget=AdminTextInputWidget,
    )
    shared = forms.BooleanField(
        label=_("Also the others who come from the address"),
        required=False,
        help_text=_("Asked for where other guests are here from it now."),
    )

    class Meta:
        model = models.Restriction
        fields = ("room", "kind", "address", "username", "until", "reason")
        help_texts = {
            "address": _("Every guest who comes from it. Without one it is for the account or the browser alone."),
            "username": _("How lists call them; an account is called by its own."),
            "until": _("Empty: for good."),
        }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        restriction = self.instance
        # Whom it stays for although the form can't say it: an account that is gone, somebody without a session.
        self._kept = ""
        if restriction.pk:
            known = initial_of(restriction.person, restriction.username)
            self._kept = "" if known.get("account") or known.get("guest") else restriction.person
            self.initial = {**self.initial, **known, "room": restriction.room}

    def clean_reason(self) -> str:
        return _on_one_line(protocol.clean_reason, self.cleaned_data["reason"])

    def clean_guest(self) -> str:
        guest: str = self.cleaned_data["guest"]
        if guest and not GUEST_PATTERN.fullmatch(guest):
            raise ValidationError(_("A guest is “guest:” and 16 digits or letters from a to f."))
        return guest

    def clean_address(self) -> str | None:
        address: str | None = self.cleaned_data["address"]
        if address and is_shared_address(address):
            raise ValidationError(_("This is a proxy's address: everybody behind it would be shut out."))
        return address

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        account, guest, address = given.get("account"), given.get("guest"), given.get("address")
        if account and (guest or address):
            self.add_error("account", _("An account alone, or a guest or an address: make two restrictions."))
        elif not (account or guest or address or self._kept or WHOM & self.errors.keys()):
            self.add_error(None, _("Say whom: an account's name, a guest or an address."))
        until = given.get("until")
        if until and "until" in self.changed_data and until <= timezone.now():
            self.add_error("until", _("That is over. To end a restriction now, delete it."))
        self._name(given)
        self._refuse_a_second()
        if not self.errors and address and "address" in self.changed_data and not given.get("shared"):
            self._tell_who_shares(address)
        return given

    def _tell_who_shares(self, address: str) -> None:
        others = guests_at(address, self.instance.person)
        if others:
            said = ngettext(
                "%(others)d other guest is here from this address now. Tick this to go on.",
                "%(others)d other guests are here from this address now. Tick this to go on.",
                others,
            )
            self.add_error("shared", said % {"others": others})

    def _name(self, given: dict[str, Any]) -> None:
        """Whom it is for, as the chat knows them."""
        account, guest = given.get("account"), given.get("guest")
        who = Identity(models.account_key(account.pk)) if account else Identity(guest or self._kept)
        self.instance.person = who.person
        if account:
            given["username"] = account.get_username()

    def _refuse_a_second(self) -> None:
        given = self.cleaned_data
        same = models.Restriction.objects.filter(
            room=given.get("room"),
            kind=given.get("kind"),
            person=self.instance.person,
            address=given.get("address") or None,
        )
        if not self.errors and same.exclude(pk=self.instance.pk).exists():
            self.add_error(None, _("There is one already of this kind, for them, in this place: change that one."))


def initial_of(key: str, name: str = "") -> dict[str, Any]:
    """What the form says for somebody's key, a message's author too; nothing for who can't be known again."""
    identity = Identity(key)
    if identity.account is not None:
        accounts = get_user_model()._default_manager  # noqa: SLF001 as above
        try:
            return {"account": accounts.filter(pk=identity.account).first()}
        except (ValueError, ValidationError):
            return {}
    if GUEST_PATTERN.fullmatch(key):
        return {"guest": identity.person, "username": name or key.removeprefix(identity.person).removeprefix(":")}
    return {}
