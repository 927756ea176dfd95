"""Account pages: sign-up, sign-in, change of password. They build on Django's views and forms.

Password attempts are counted where a password is checked (chat.auth.password_attempts), sign-ups here.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib.auth import get_user_model, login
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UserCreationForm, UsernameField
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.contrib.auth.views import LoginView, PasswordChangeView, RedirectURLMixin
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from chat import protocol
from chat.auth.password_attempts import AttemptRefused, current_tracker, remember_account
from chat.auth.usernames import account_named, name_is_taken

OWN_PAGES = ("/login/", "/sign-up/")
"""Pages that ``next`` never leads to: a signed-in user has no use for them."""
GOOD_PASSWORD = _("At least 10 characters: not your name, not a common password, not digits only.")
"""AUTH_PASSWORD_VALIDATORS in one line."""
TAKEN = _("This name is taken, or looks like one that is. Choose another.")


def account_name(name: str) -> str:
    """The normalized name of an account, which the chat can show. Raises ``ValidationError``.

    Django's own rule takes letters and digits, but neither the vowel signs of Indian scripts nor the joiners of
    Persian. So outside ASCII this takes any character that a name in the chat may have.
    """
    try:
        name = protocol.clean_name(name)
    except ValueError as error:
        raise forms.ValidationError(_("A name %(reason)s."), params={"reason": error}) from None
    if _NOT_IN_ACCOUNTS.search(name):
        raise forms.ValidationError(UnicodeUsernameValidator.message)
    return name


_NOT_IN_ACCOUNTS = re.compile(r"[^\w.@+\-\x80-\U0010ffff]", re.ASCII)
"""ASCII characters that Django's rule refuses."""


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A name and a password. The chat can show the name, and no other account's looks the same."""

    username = UsernameField(
        label=_("Username"),
        max_length=4 * protocol.NAME_LIMIT,
        help_text=_("At most %(limit)s letters, digits and @ . + - _") % {"limit": protocol.NAME_LIMIT},
    )

    class Meta:
        model = get_user_model()
        fields = ()
        # Otherwise the model's own rule for names would apply too.
        exclude = ("username",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs["maxlength"] = protocol.NAME_LIMIT
        self.fields["password1"].help_text, self.fields["password2"].help_text = GOOD_PASSWORD, ""

    def clean_username(self) -> str:
        name = account_name(self.cleaned_data["username"])
        if name_is_taken(name):
            raise forms.ValidationError(TAKEN, code="unique")
        self.instance.username = name
        return name

    def create(self) -> Any:
        """The new account, or None with an error in the form if the name was taken a moment ago."""
        try:
            with transaction.atomic():
                user: AbstractBaseUser = self.save()
        except IntegrityError:
            self.add_error("username", forms.ValidationError(TAKEN, code="unique"))
            return None
        return user


class SignInForm(AuthenticationForm):
    """Finds the account whichever joiners the user's keyboard puts into the name."""

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        account = account_named(name)
        return account.get_username() if account else name


class NewPasswordForm(PasswordChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].help_text, self.fields["new_password2"].help_text = GOOD_PASSWORD, ""


class Returning(RedirectURLMixin):
    """Redirects to ``next`` if that is a page of the site, but not the sign-in or sign-up page."""

    def get_redirect_url(self, *args: Any) -> str:
        url = super().get_redirect_url(*args)
        return "" if urlsplit(url).path in OWN_PAGES else url


class SignIn(Returning, LoginView):
    form_class = SignInForm
    redirect_authenticated_user = True


@method_decorator([sensitive_post_parameters(), never_cache], name="dispatch")
class SignUp(Returning, FormView):  # type: ignore[type-arg]  # as above
    form_class = SignUpForm
    template_name = "registration/sign_up.html"
    next_page = "chat:index"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return HttpResponseRedirect(self.get_success_url())
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Limit the number of new accounts. Past the limit the form is not validated."""
        tracker = current_tracker()
        try:
            if tracker:
                tracker.count()
        except AttemptRefused as refusal:
            return self._too_many(refusal)
        return super().post(request, *args, **kwargs)

    def _too_many(self, refusal: AttemptRefused) -> HttpResponse:
        """The form with only the name. The middleware sets the status."""
        options = {k: v for k, v in self.get_form_kwargs().items() if k not in ("data", "files")}
        name = self.request.POST.get("username", "")
        form = self.get_form_class()(**{**options, "initial": {"username": name}})
        return self.render_to_response(self.get_context_data(form=form, refusal=refusal.sentence))

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        user = form.create()
        if user is None:
            return self.form_invalid(form)
        login(self.request, user, backend="django.contrib.auth.backends.ModelBackend")
        return HttpResponseRedirect(self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(next=self.get_redirect_url(), **kwargs)


class ChangePassword(PasswordChangeView):
    """Ends the account's sessions in other browsers. This browser stays signed in, and known."""

    form_class = NewPasswordForm
    template_name = "registration/change_password.html"
    success_url = reverse_lazy("password_changed")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        remember_account(form.user, proven=True)
        return response
