"""Rate limits and counts of open sockets, by socket, person and address."""

from chat.limits.addresses import address_asking, address_in, address_of, is_proxy, limited_as, stands_for_many
from chat.limits.buckets import KEPT, Bucket, Holder, Holders
from chat.limits.costs import COST, COSTS, INVALID_FRAME, cost_of
from chat.limits.creation import CreationLimits, Row, creation_limits
from chat.limits.limits import Allowance, Limits, Refusal, Standing
from chat.limits.sign_ins import SignIns, Try, sign_ins

__all__ = [
    "COST",
    "COSTS",
    "INVALID_FRAME",
    "KEPT",
    "Allowance",
    "Bucket",
    "CreationLimits",
    "Holder",
    "Holders",
    "Limits",
    "Refusal",
    "Row",
    "SignIns",
    "Standing",
    "Try",
    "address_asking",
    "address_in",
    "address_of",
    "cost_of",
    "creation_limits",
    "is_proxy",
    "limited_as",
    "sign_ins",
    "stands_for_many",
]
