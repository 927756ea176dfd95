"""What the admin can look at and give permissions for.

Who is connected lives in the processes that hold the sockets, not in rows that a crash would leave stale; so this
model has no table.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Connection(models.Model):
    """One open socket."""

    id = models.CharField(primary_key=True, max_length=16)

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("disconnect_connection", _("Can disconnect a socket"))]
        verbose_name = _("connection")
        verbose_name_plural = _("connections: who is here now")

    def __str__(self) -> str:
        return self.id
