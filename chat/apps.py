from django.apps import AppConfig


class ChatAppConfig(AppConfig):
    name = "chat"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Registers the system checks.
        from chat import checks  # noqa: F401, PLC0415 importing it before the apps are ready would be too early
