"""The forms of the first page."""

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat import models, protocol
from chat.auth.names import taken

Kind = models.Room.Kind


class RoomNameField(forms.RegexField):
    """The name of a public room."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            regex=protocol.PUBLIC_PATTERN,
            widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
            error_messages={
                "invalid": _("Use 1-50 characters: a-z, 0-9, - and _, starting with a letter or digit.")
            },
            **kwargs,
        )


class EntranceForm(forms.Form):
    """A name and a room. An account brings its own name."""

    username = forms.CharField(
        label=_("Your name"),
        # Before NFKC, as on the wire; clean_username holds the real limit.
        max_length=4 * protocol.NAME_LIMIT,
        widget=forms.TextInput(attrs={"autocomplete": "nickname", "maxlength": protocol.NAME_LIMIT}),
    )
    room = RoomNameField(label=_("Room"), initial=protocol.LOBBY)

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if request.user.is_authenticated:
            del self.fields["username"]

    def clean_username(self) -> str:
        try:
            name = protocol.clean_name(self.cleaned_data["username"])
        except ValueError as error:
            raise forms.ValidationError(_("A name %(reason)s."), params={"reason": error}) from None
        if taken(name):
            message = _("An account is called %(name)s, or nearly so. Sign in, or choose another name.")
            raise forms.ValidationError(message, params={"name": name})
        return name


class NewRoomForm(forms.Form):
    """A room to be made by somebody with an account."""

    title = forms.CharField(label=_("Title"), max_length=protocol.TITLE_LIMIT)
    kind = forms.ChoiceField(
        label=_("Who may come in"),
        choices=[
            (Kind.PRIVATE, _("Who is invited")),
            (Kind.MEMBERS, _("Everybody with an account")),
            (Kind.PUBLIC, _("Everybody")),
        ],
    )
    room = RoomNameField(
        label=_("Name in its address"),
        required=False,
        help_text=_("Only for a room that everybody may come into."),
    )

    def clean_title(self) -> str:
        try:
            return protocol.clean_title(self.cleaned_data["title"])
        except ValueError as error:
            raise forms.ValidationError(_("A title %(reason)s."), params={"reason": error}) from None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        if cleaned.get("kind") == Kind.PUBLIC and not cleaned.get("room") and "room" not in self.errors:
            self.add_error("room", _("A room that everybody may come into needs a name."))
        return cleaned


class DirectForm(forms.Form):
    """Somebody to talk with in private."""

    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
    )
