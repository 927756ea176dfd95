"""Rooms, and the roles, invitations and restrictions in them."""

import secrets
import time
from collections.abc import Iterable
from typing import Any, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import OperationalError, connections, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat import protocol
from chat.database import LOCK_RETRY_SECONDS, LOCK_TIMEOUT_MS, is_locked
from chat.models.fields import AUTHOR_LENGTH, Actor

COUNTERS = ("epoch", "seq", "pruned", "rules", "active")
"""Fields that only statements of their own change, while a form or a view may hold an older row."""

ACTIVE_FROM_CHANGES = 5
"""Changes that a room needs before its time of activity counts in lists. So a flood of rooms with a message each
can't bury the rooms in use."""
ACTIVE_PRECISION = 60
"""Seconds by which the time of a room's last activity may lag. So a busy room writes it once a minute."""

NUMBERS = ("seq", "pruned")
SET_BY_THE_LOG = (
    "can't be set: chat.message_log counts every change. To post a message call chat.api.post(); to repair "
    "a room that counts wrongly, run manage.py chat_check --fix."
)
"""The error for code that sets a counter."""


def new_epoch() -> str:
    """A new identifier for a room's numbers: 32 random bits."""
    return secrets.token_hex(4)


def new_hidden_slug() -> str:
    """A new slug for a room that is not public: 96 random bits, so nobody finds one by trying."""
    return protocol.HIDDEN_PREFIX + secrets.token_hex(12)


class RoomQuerySet(models.QuerySet["Room"]):
    def update(self, **fields: Any) -> int:
        """Update rows; raises ValueError for the numbers that chat.message_log gives."""
        if changed := fields.keys() & set(NUMBERS):
            raise ValueError(f"A room's {', '.join(sorted(changed))} {SET_BY_THE_LOG}")
        return super().update(**fields)

    def bulk_create(self, objs: Iterable["Room"], *args: Any, **options: Any) -> list["Room"]:
        """Insert rows; raises ValueError for counters, like ``save``."""
        rooms = list(objs)
        for room in rooms:
            room._refuse_counters(set())  # noqa: SLF001 of this module
        created = super().bulk_create(rooms, *args, **options)
        for room in created:
            room._note_counters()  # noqa: SLF001 of this module
        return created

    def visible_to(self, identity: Actor) -> Self:
        """The rooms that this identity may see, whether or not they may enter it now."""
        public = Q(kind=Room.Kind.PUBLIC)
        if identity.account is None:
            return self.filter(public)
        theirs = Membership.objects.filter(room=OuterRef("pk"), user=identity.account)
        return self.filter(public | Q(kind=Room.Kind.MEMBERS) | Q(Exists(theirs)))

    def locked(self, *, skip: bool = False) -> Self:
        """Lock these rows until the transaction ends; new rows of other tables may still refer to them.

        All code locks rooms in this order, or two transactions could wait for each other. With ``skip`` rows that
        another transaction has locked are left out. On SQLite, which has one writer at a time, it does nothing.
        """
        able = connections[self.db].features
        return self.order_by("pk").select_for_update(
            skip_locked=skip and able.has_select_for_update_skip_locked,
            no_key=able.has_select_for_no_key_update,
        )

    def locked_together(self) -> list[int]:
        """Lock all these rows, and return their keys; for a thread that may wait.

        While another transaction has locked one of them, none is locked here. So a wait for one room does not hold
        up the others.
        """
        nowait = connections[self.db].features.has_select_for_update_nowait
        give_up = time.monotonic() + LOCK_RETRY_SECONDS
        while True:
            try:
                with transaction.atomic(using=self.db):
                    return list(self.order_by("pk").select_for_update(nowait=nowait).values_list("pk", flat=True))
            except OperationalError as error:
                if not is_locked(error) or time.monotonic() > give_up:
                    raise
            time.sleep(LOCK_TIMEOUT_MS / 1_000)


class Room(models.Model):
    """A room.

    Users choose the slug of a public room. The others have a slug that nobody can guess (chat.protocol.is_hidden),
    so that it reveals nothing.
    """

    class Kind(models.TextChoices):
        PUBLIC = "public", _("Public: everybody may come in")
        MEMBERS = "members", _("Members: everybody with an account may come in")
        PRIVATE = "private", _("Private: by invitation")
        DIRECT = "direct", _("Direct: two people")

    slug = models.CharField(
        _("name in addresses"), max_length=50, unique=True, validators=[RegexValidator(protocol.ROOM_PATTERN)]
    )
    title = models.CharField(_("title"), max_length=80, blank=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.PUBLIC)
    epoch = models.CharField(
        _("epoch"),
        max_length=16,
        default=new_epoch,
        editable=False,
        help_text=_("The epoch of its numbers; a client with another one starts over."),
    )
    seq = models.BigIntegerField(_("last number"), default=0, editable=False)
    pruned = models.BigIntegerField(
        _("pruned numbers"),
        default=0,
        editable=False,
        help_text=_("How many numbers were removed with pruned messages."),
    )
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    archived = models.DateTimeField(
        _("archived"), null=True, blank=True, help_text=_("From then on it is read-only for all users.")
    )
    read_only = models.BooleanField(
        _("read-only"), default=False, help_text=_("Only owners and moderators may post.")
    )
    slow = models.PositiveSmallIntegerField(
        _("slow mode"),
        default=0,
        validators=[MaxValueValidator(protocol.SLOW_LIMIT)],
        help_text=_("Seconds between two messages of one user; 0: no limit."),
    )
    rules = models.BigIntegerField(
        _("rules"),
        default=0,
        editable=False,
        help_text=_("How often its settings, roles and restrictions changed; processes compare it."),
    )
    pair = models.CharField(  # noqa: DJ001 only direct rooms have one
        _("pair"),
        max_length=80,
        null=True,
        unique=True,
        editable=False,
        help_text=_("The keys of a direct room's two accounts."),
    )

    subject = models.CharField(  # noqa: DJ001 only rooms of an object have one
        _("object"),
        max_length=120,
        null=True,
        unique=True,
        editable=False,
        help_text=_("The object of the project that the room belongs to."),
    )
    active = models.DateTimeField(
        _("last active"),
        null=True,
        editable=False,
        help_text=_(
            "Time of the last change, to the minute. Only for listed rooms, and not before their first few "
            "messages."
        ),
    )
    former = models.CharField(
        _("former people"),
        max_length=310,
        blank=True,
        db_default="",
        editable=False,
        help_text=_("The names of a direct room's deleted accounts."),
    )

    objects = RoomQuerySet.as_manager()

    class Meta:
        verbose_name = _("room")
        verbose_name_plural = _("rooms")
        ordering = ("slug",)
        indexes = [
            # For the directory: its query stops at the page's end, however many rooms there are.
            models.Index(
                fields=["-active", "-id"],
                name="chat_room_active",
                condition=Q(active__isnull=False, archived__isnull=True),
            ),
        ]
        permissions = [("moderate_room", _("Can moderate every room that is not private"))]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="public") ^ Q(slug__startswith=protocol.HIDDEN_PREFIX),
                name="chat_room_hidden",
            ),
            models.CheckConstraint(
                condition=Q(seq__gte=0) & Q(pruned__gte=0) & Q(pruned__lte=F("seq")), name="chat_room_numbers"
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.slug

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **options: Any) -> None:
        """Save the room without its COUNTERS.

        The chat counts on while a form or a view holds the row, so saving its counters would turn them back. A new
        room is saved with its initial ones. Raises ValueError if a counter was set here, so no value is dropped.
        """
        self._refuse_counters(set(update_fields or ()))
        if update_fields is None and not self._state.adding:
            fields = [field for field in self._meta.concrete_fields if field.attname in self.__dict__]
            update_fields = {field.name for field in fields} - {"id", *COUNTERS}
        super().save(*args, update_fields=update_fields, **options)
        self._note_counters()

    @classmethod
    def from_db(cls, *args: Any, **options: Any) -> Self:
        room = super().from_db(*args, **options)
        room._note_counters()  # noqa: SLF001 of this class
        return room

    def refresh_from_db(self, *args: Any, **options: Any) -> None:
        super().refresh_from_db(*args, **options)
        self._note_counters()

    def _note_counters(self) -> None:
        """Remember the counters as loaded or saved. Deferred ones are left out."""
        self._counters = {name: self.__dict__[name] for name in COUNTERS if name in self.__dict__}

    def _refuse_counters(self, update_fields: set[str]) -> None:
        """Raise ValueError if a counter was set on this instance, or is to be saved by name."""
        if self._state.adding:
            changed = {name for name in NUMBERS if self.__dict__.get(name)}
        else:
            known: dict[str, object] = getattr(self, "_counters", {})
            present = self.__dict__.keys() & set(COUNTERS)
            # A deferred counter that was set has no loaded value to compare with.
            changed = {name for name in present if name not in known or self.__dict__[name] != known[name]}
            changed |= update_fields.intersection(COUNTERS)
        if changed:
            raise ValueError(f"A room's {', '.join(sorted(changed))} {SET_BY_THE_LOG}")


class Membership(models.Model):
    """An account's role in a room. Public rooms have rows only for roles above member."""

    class Role(models.TextChoices):
        OWNER = "owner", _("owner")
        MODERATOR = "moderator", _("moderator")
        MEMBER = "member", _("member")

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="memberships", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="chat_memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.MEMBER)
    joined = models.DateTimeField(_("joined"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="chat_membership_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.role}"


class Invitation(models.Model):
    """A link into a room. Until it expires, any account that opens it may become a member."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="invitations")
    digest = models.CharField(
        _("digest"),
        max_length=64,
        unique=True,
        editable=False,
        help_text=_("Digest of the link's code, which is not stored."),
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), on_delete=models.CASCADE, related_name="chat_invitations"
    )
    created = models.DateTimeField(_("made"), default=timezone.now, editable=False)
    expires = models.DateTimeField(_("expires"))
    used = models.PositiveIntegerField(_("used"), default=0, editable=False)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")

    def __str__(self) -> str:
        return f"{self.room}, {self.expires:%Y-%m-%d}"


class Restriction(models.Model):
    """A mute (the user may not post) or a ban (the user may not enter), in one room or in all."""

    class Kind(models.TextChoices):
        MUTE = "mute", _("muted")
        BAN = "ban", _("banned")

    room = models.ForeignKey(
        Room,
        on_delete=models.CASCADE,
        related_name="restrictions",
        null=True,
        blank=True,
        help_text=_("None: everywhere."),
    )
    kind = models.CharField(_("kind"), max_length=4, choices=Kind.choices)
    person = models.CharField(
        _("person"),
        max_length=AUTHOR_LENGTH,
        blank=True,
        help_text=_("account:… (an account's number) or guest:… (a browser's session)"),
    )
    address = models.GenericIPAddressField(_("address"), null=True, blank=True, help_text=_("For guests only."))
    username = models.CharField(_("name"), max_length=150, blank=True)
    until = models.DateTimeField(_("until"), null=True, blank=True, help_text=_("None: no end."))
    reason = models.CharField(_("reason"), max_length=protocol.REASON_LIMIT, blank=True)
    by = models.CharField(_("by"), max_length=150, blank=True)
    created = models.DateTimeField(_("since"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("restriction")
        verbose_name_plural = _("restrictions")
        constraints = [
            models.CheckConstraint(
                condition=~Q(person="") | Q(address__isnull=False), name="chat_restriction_of_somebody"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.username or self.person or self.address}: {self.kind}"
