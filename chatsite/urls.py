from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import TemplateView

from chatsite import accounts

urlpatterns = [
    path("", include("chat.urls")),
    path("login/", accounts.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", accounts.ChangePassword.as_view(), name="change_password"),
    path(
        "password/changed/",
        login_required(TemplateView.as_view(template_name="registration/password_changed.html")),
        name="password_changed",
    ),
    path("admin/", admin.site.urls),
]
if settings.EXAMPLES:
    urlpatterns += [
        path("examples/feed/", include("examples.feed.urls")),
        path("examples/dashboard/", include("examples.dashboard.urls")),
    ]
if settings.SIGN_UP:
    # Without this URL, pages show no link to it.
    urlpatterns.append(path("sign-up/", accounts.SignUp.as_view(), name="sign_up"))
