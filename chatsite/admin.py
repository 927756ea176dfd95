"""Accounts in the admin. Their names follow the rule of the sign-up page, not Django's narrower one."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm, UsernameField
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _

from chatsite.accounts import SignInForm, account_name


class StaffSignInForm(SignInForm, AdminAuthenticationForm):
    """Accepts a name as the sign-in page does."""


class AccountNameForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Keeps an account's name, or takes a new one that the sign-up page would take."""

    username = UsernameField(label=_("Username"), max_length=150)

    class Meta:
        model = User
        fields: Any = "__all__"
        # Otherwise the model's own rule for names would apply too.
        exclude = ("username",)  # noqa: DJ006 the base forms have their own list

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # With the view permission only, the form has no fields.
        if "username" in self.fields:
            self.initial.setdefault("username", self.instance.username)

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if name != self.instance.username:
            name = account_name(name)
            if User.objects.filter(username=name).exclude(pk=self.instance.pk).exists():
                raise forms.ValidationError(self.instance.unique_error_message(User, ("username",)))
        self.instance.username = name
        return name


class ChangeForm(AccountNameForm, UserChangeForm):  # type: ignore[type-arg]
    class Meta(AccountNameForm.Meta):
        pass


class CreationForm(AccountNameForm, AdminUserCreationForm):  # type: ignore[type-arg]
    class Meta(AccountNameForm.Meta):
        fields = ()


class AccountAdmin(UserAdmin):  # type: ignore[type-arg]
    form = ChangeForm
    add_form = CreationForm


# The import above registers Django's own.
admin.site.unregister(User)
admin.site.register(User, AccountAdmin)
admin.site.login_form = StaffSignInForm
