"""The forms of the first page."""

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat import models, protocol
from chat.auth.usernames import name_is_taken

RoomKind = models.Room.Kind


class RoomNameField(forms.CharField):
    """A public room's name in any spelling. The field's value is the room's slug."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=protocol.TITLE_LIMIT,
            widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
            error_messages={"invalid": _("Use a name with a letter or a digit, not starting with _.")},
            **kwargs,
        )

    def clean(self, value: Any) -> str:
        name: str = super().clean(value)
        slug = protocol.slug_of(name) if name else ""
        if slug is None:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return slug


class EntranceForm(forms.Form):
    """A name and a room. A signed-in user has the account's name, and no name field."""

    username = forms.CharField(
        label=_("Your name"),
        # The length before NFKC, as on the wire. clean_username checks the real limit.
        max_length=4 * protocol.NAME_LIMIT,
        widget=forms.TextInput(attrs={"autocomplete": "nickname", "maxlength": protocol.NAME_LIMIT}),
    )
    room = RoomNameField(label=_("Room"), initial=protocol.LOBBY)

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if request.user.is_authenticated:
            del self.fields["username"]

    def title(self) -> str:
        """The room's title as the user typed it, or "" if it is the slug."""
        slug = self.cleaned_data["room"]
        try:
            title = protocol.clean_title(self.data["room"])
        except ValueError:
            return ""
        return "" if title == slug else title

    def clean_username(self) -> str:
        try:
            name = protocol.clean_name(self.cleaned_data["username"])
        except ValueError as error:
            raise forms.ValidationError(_("A name %(reason)s."), params={"reason": error}) from None
        if name_is_taken(name):
            message = _("An account is called %(name)s, or nearly so. Sign in, or choose another name.")
            raise forms.ValidationError(message, params={"name": name})
        return name


class NewRoomForm(forms.Form):
    """A new room, created by a user with an account."""

    title = forms.CharField(label=_("Title"), max_length=protocol.TITLE_LIMIT)
    kind = forms.ChoiceField(
        label=_("Access"),
        choices=[
            (RoomKind.PRIVATE, _("Invited people")),
            (RoomKind.MEMBERS, _("Everybody with an account")),
            (RoomKind.PUBLIC, _("Everybody")),
        ],
    )
    room = RoomNameField(
        label=_("Name in its address"),
        required=False,
        help_text=_("Only for a room that everybody may come into. Empty: made from the title."),
    )

    def clean_title(self) -> str:
        try:
            return protocol.clean_title(self.cleaned_data["title"])
        except ValueError as error:
            raise forms.ValidationError(_("A title %(reason)s."), params={"reason": error}) from None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        if cleaned.get("kind") == RoomKind.PUBLIC and not cleaned.get("room") and "room" not in self.errors:
            cleaned["room"] = protocol.slug_of(cleaned.get("title", ""))
            if cleaned["room"] is None and "title" not in self.errors:
                self.add_error("room", _("A room that everybody may come into needs a name."))
        return cleaned


class DirectForm(forms.Form):
    """The other user of a direct room."""

    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
    )
