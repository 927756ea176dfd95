"""The admin's forms. Accounts and rooms are entered by name, because there may be a million of each."""

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

RoomKind = models.Room.Kind

"""A guest's key, as in messages: with or without the name at its end."""

TARGET_FIELDS = {"account", "guest", "address"}
"""The fields that identify the target of a restriction."""


class AccountField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic only in the stubs
    """An account, entered by its name."""

    widget = AdminTextInputWidget
    default_error_messages = {"invalid_choice": _("There is no account with the name “%(value)s”.")}

    def __init__(self, **options: Any) -> None:
        accounts = get_user_model()
        super().__init__(accounts._default_manager.all(), to_field_name=accounts.USERNAME_FIELD, **options)  # noqa: SLF001 Django's documented name


class RoomField(forms.ModelChoiceField):  # type: ignore[type-arg]  # as above
    """A room, entered by its name in URLs."""

    widget = AdminTextInputWidget
    default_error_messages = {"invalid_choice": _("There is no room with the name “%(value)s” in its address.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(models.Room.objects.all(), to_field_name="slug", **options)


def _on_one_line(clean: Callable[[str], str], text: str) -> str:
    """A title or a reason, cleaned as in the protocol."""
    try:
        return clean(text) if text else ""
    except ValueError as error:
        raise ValidationError(_("This %(reason)s."), params={"reason": error}) from None


# --- Rooms ---


class RoomForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """A public room stays public, and other rooms never become public: their names are secret."""

    class Meta:
        model = models.Room
        fields = ("slug", "title", "kind", "archived", "read_only", "slow")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        new = self.instance.pk is None
        if "slug" in self.fields:
            self.fields["slug"].required = False
            # clean() makes the slug from any name. The model validates the result.
            self.fields["slug"].validators = []
            self.fields["slug"].help_text = _("For public rooms. Other rooms get a name that nobody can guess.")
        if isinstance(kind := self.fields.get("kind"), forms.ChoiceField):
            choices = (
                (RoomKind.PUBLIC, RoomKind.MEMBERS, RoomKind.PRIVATE)
                if new
                else (RoomKind.MEMBERS, RoomKind.PRIVATE)
            )
            kind.choices = [(kind.value, kind.label) for kind in choices]
            kind.error_messages["invalid_choice"] = (
                _("Choose public, members or private. Only its two users can open a direct room.")
                if new
                else _("Choose members or private. This room can become neither public nor direct.")
            )

    def clean_title(self) -> str:
        return _on_one_line(protocol.clean_title, self.cleaned_data["title"])

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        kind, slug = given.get("kind"), given.get("slug", "")
        if self.instance.pk or kind is None or "slug" in self.errors:
            return given
        if kind != RoomKind.PUBLIC:
            if slug:
                self.add_error("slug", _("Leave it empty. Only public rooms have a name that people choose."))
            given["slug"] = models.new_hidden_slug()
        elif made := protocol.slug_of(slug or given.get("title", "")):
            given["slug"] = made
        else:
            self.add_error("slug", _("A public room needs a name: letters from a to z, digits, “-” and “_”."))
        return given


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    user = AccountField(label=_("Account's name"))

    class Meta:
        model = models.Membership
        fields = ("user", "role")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.pk and "user" in self.fields:
            # The membership of another user is another row.
            self.fields["user"].disabled = True
            self.initial["user"] = self.instance.user

    def clean(self) -> dict[str, Any]:
        """Check for a second membership. Django skips the table's constraint when the room is the page's own."""
        given = super().clean() or self.cleaned_data
        room, user = given.get("room"), given.get("user")
        if room and room.pk and user and room.memberships.filter(user=user).exclude(pk=self.instance.pk).exists():
            self.add_error("user", _("This account is already a member of this room."))
        return given


class MembershipOfRoomForm(MembershipForm):
    """A membership on a page of its own, with its room."""

    room = RoomField(label=_("Room"), help_text=_("The room's name in its address."))

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
        if room.kind == RoomKind.DIRECT:
            raise ValidationError(_("A direct room has exactly two members."))
        return room


# --- Restrictions ---


class RestrictionForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """The target is an account, a guest, an address, or a guest and an address."""

    room = RoomField(
        label=_("Room"), required=False, help_text=_("The room's name in its address. Empty: everywhere.")
    )
    account = AccountField(label=_("Account's name"), required=False)
    guest = forms.CharField(
        label=_("Guest"),
        required=False,
        strip=True,
        max_length=models.AUTHOR_LENGTH,
        help_text=_("guest:… as shown with the guest's messages. It is a browser's session, under any name."),
        widget=AdminTextInputWidget,
    )
    shared = forms.BooleanField(
        label=_("Also the other guests with this address"),
        required=False,
        help_text=_("Required if other guests are connected from it now."),
    )

    class Meta:
        model = models.Restriction
        fields = ("room", "kind", "address", "username", "until", "reason")
        help_texts = {
            "address": _("Restricts every guest with this address. Without it, only the account or the browser."),
            "username": _("The name in lists. An account has its own name."),
            "until": _("Empty: no end."),
        }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        restriction = self.instance
        # A target that the form can't show, which stays: a deleted account, or a client without a session.
        self._kept_person = ""
        if restriction.pk:
            known = initial_of(restriction.person, restriction.username)
            self._kept_person = "" if known.get("account") or known.get("guest") else restriction.person
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
            raise ValidationError(
                _("This is a proxy's address. The restriction would apply to everybody behind it.")
            )
        return address

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        account, guest, address = given.get("account"), given.get("guest"), given.get("address")
        if account and (guest or address):
            self.add_error(
                "account", _("Enter an account alone, or a guest or an address. For both, add two restrictions.")
            )
        elif not (account or guest or address or self._kept_person or TARGET_FIELDS & self.errors.keys()):
            self.add_error(None, _("Enter an account's name, a guest or an address."))
        until = given.get("until")
        if until and "until" in self.changed_data and until <= timezone.now():
            self.add_error("until", _("This time is past. To end a restriction now, delete it."))
        self._set_target(given)
        self._refuse_duplicate()
        if not self.errors and address and "address" in self.changed_data and not given.get("shared"):
            self._confirm_shared_address(address)
        return given

    def _confirm_shared_address(self, address: str) -> None:
        others = guests_at(address, self.instance.person)
        if others:
            question = ngettext(
                "%(others)d other guest is connected from this address. Tick this to go on.",
                "%(others)d other guests are connected from this address. Tick this to go on.",
                others,
            )
            self.add_error("shared", question % {"others": others})

    def _set_target(self, given: dict[str, Any]) -> None:
        """Set the target's key, and for an account its name."""
        account, guest = given.get("account"), given.get("guest")
        who = Identity(models.account_key(account.pk)) if account else Identity(guest or self._kept_person)
        self.instance.person = who.person
        if account:
            given["username"] = account.get_username()

    def _refuse_duplicate(self) -> None:
        given = self.cleaned_data
        same = models.Restriction.objects.filter(
            room=given.get("room"),
            kind=given.get("kind"),
            person=self.instance.person,
            address=given.get("address") or None,
        )
        if not self.errors and same.exclude(pk=self.instance.pk).exists():
            self.add_error(None, _("There is already such a restriction in this place. Change that one."))


def initial_of(key: str, name: str = "") -> dict[str, Any]:
    """The form's initial fields for a key, such as a message's author; {} for a key without account or session."""
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
