"""URLs of the pages, for a project's ``include()``."""

from django.urls import path, register_converter

from chat import views


class RoomConverter:
    """A room's slug, as in the protocol."""

    regex = "_?[a-z0-9][a-z0-9_-]{0,49}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(RoomConverter, "room")

app_name = "chat"
urlpatterns = [
    path("", views.index, name="index"),
    path("room/<room:room>/", views.room, name="room"),
    path("room/<str:name>/", views.room_by_name, name="called"),
    path("rooms/", views.create, name="create"),
    path("direct/", views.direct, name="direct"),
    path("invite/<str:code>/", views.invite, name="invite"),
    path("whoami", views.whoami, name="whoami"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.show_metrics, name="metrics"),
]
