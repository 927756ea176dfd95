"""Rate limits and counts of open sockets, by socket, person and address."""

from chat.limits.addresses import (
    client_address,
    is_proxy,
    is_shared_address,
    limit_key,
    request_address,
    scope_address,
)
from chat.limits.buckets import Bucket, Holder, Holders
from chat.limits.costs import COST, COSTS, INVALID_FRAME
from chat.limits.creation import CreationLimits, RowKind, creation_limits
from chat.limits.limits import Allowance, HolderUsage, Limits, Refusal
from chat.limits.sign_ins import Attempt, SignInLimits, sign_in_limits

__all__ = [
    "COST",
    "COSTS",
    "INVALID_FRAME",
    "Allowance",
    "Attempt",
    "Bucket",
    "CreationLimits",
    "Holder",
    "HolderUsage",
    "Holders",
    "Limits",
    "Refusal",
    "RowKind",
    "SignInLimits",
    "client_address",
    "creation_limits",
    "is_proxy",
    "is_shared_address",
    "limit_key",
    "request_address",
    "scope_address",
    "sign_in_limits",
]
