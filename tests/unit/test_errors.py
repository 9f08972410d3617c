import pickle

import pytest

from etcd_async import errors
from etcd_async.errors import (
    Attempt,
    Compacted,
    DeadlineExceeded,
    EtcdError,
    LeaseLost,
    LeaseNotFound,
    LockLost,
    NoSpace,
    PermissionDenied,
    RequestTooLarge,
    RpcError,
    ServerTimeout,
    StatusCode,
    Unavailable,
    WatchCanceled,
    error_for,
    error_for_cancel_reason,
)
from etcd_async.errors._table import TEXTS, by_text

# etcd's 63 named errors: api/v3rpc/rpctypes/error.go. Code, message, and the class (or the group's) they arrive as.
SERVER_ERRORS = [
    (3, "etcdserver: key is not provided", errors.EmptyKey),
    (3, "etcdserver: key not found", errors.KeyNotFound),
    (3, "etcdserver: value is provided", errors.RequestError),
    (3, "etcdserver: lease is provided", errors.RequestError),
    (3, "etcdserver: too many operations in txn request", errors.TooManyOps),
    (3, "etcdserver: duplicate key given in txn request", errors.DuplicateKey),
    (3, "etcdserver: invalid client api version", errors.RequestError),
    (3, "etcdserver: invalid sort option", errors.RequestError),
    (11, "etcdserver: mvcc: required revision has been compacted", errors.Compacted),
    (11, "etcdserver: mvcc: required revision is a future revision", errors.FutureRevision),
    (8, "etcdserver: mvcc: database space exceeded", errors.NoSpace),
    (5, "etcdserver: requested lease not found", errors.LeaseNotFound),
    (9, "etcdserver: lease already exists", errors.LeaseExists),
    (11, "etcdserver: too large lease TTL", errors.LeaseTtlTooLarge),
    (1, "etcdserver: watch canceled", errors.RequestError),
    (9, "etcdserver: member ID already exist", errors.MemberExists),
    (9, "etcdserver: Peer URLs already exists", errors.MemberExists),
    (9, "etcdserver: re-configuration failed due to not enough started members", errors.MemberError),
    (3, "etcdserver: given member URLs are invalid", errors.MemberError),
    (5, "etcdserver: member not found", errors.MemberNotFound),
    (9, "etcdserver: can only promote a learner member", errors.MemberError),
    (9, "etcdserver: can only promote a learner member which is in sync with leader", errors.LearnerNotReady),
    (9, "etcdserver: too many learner members in cluster", errors.MemberError),
    (9, "etcdserver: cluster ID mismatch", errors.ClusterIdMismatch),
    (3, "etcdserver: request is too large", errors.RequestTooLarge),
    (8, "etcdserver: too many requests", errors.TooManyRequests),
    (9, "etcdserver: root user does not exist", errors.AuthError),
    (9, "etcdserver: root user does not have root role", errors.AuthError),
    (9, "etcdserver: user name already exists", errors.UserExists),
    (3, "etcdserver: user name is empty", errors.AuthError),
    (9, "etcdserver: user name not found", errors.UserNotFound),
    (9, "etcdserver: role name already exists", errors.RoleExists),
    (9, "etcdserver: role name not found", errors.RoleNotFound),
    (3, "etcdserver: role name is empty", errors.AuthError),
    (3, "etcdserver: authentication failed, invalid user ID or password", errors.AuthFailed),
    (3, "etcdserver: permission not given", errors.AuthError),
    (7, "etcdserver: permission denied", errors.PermissionDenied),
    (9, "etcdserver: role is not granted to the user", errors.AuthError),
    (9, "etcdserver: permission is not granted to the role", errors.AuthError),
    (9, "etcdserver: authentication is not enabled", errors.AuthNotEnabled),
    (16, "etcdserver: invalid auth token", errors.InvalidAuthToken),
    (3, "etcdserver: invalid auth management", errors.AuthError),
    (3, "etcdserver: revision of auth store is old", errors.AuthOldRevision),
    (14, "etcdserver: no leader", errors.NoLeader),
    (9, "etcdserver: not leader", errors.NotLeader),
    (14, "etcdserver: leader changed", errors.LeaderChanged),
    (9, "etcdserver: not capable", errors.RequestError),
    (14, "etcdserver: server stopped", errors.ServerStopped),
    (14, "etcdserver: request timed out", errors.ServerTimeout),
    (14, "etcdserver: request timed out, possibly due to previous leader failure", errors.ServerTimeout),
    (14, "etcdserver: request timed out, possibly due to connection lost", errors.ServerTimeout),
    (14, "etcdserver: request timed out, waiting for the applied index took too long", errors.ServerTimeout),
    (14, "etcdserver: unhealthy cluster", errors.ServerError),
    (15, "etcdserver: corrupt cluster", errors.Corrupt),
    (9, "etcdserver: rpc not supported for learner", errors.NotSupportedForLearner),
    (9, "etcdserver: bad leader transferee", errors.MemberError),
    (3, "etcdserver: wrong downgrade target version format", errors.DowngradeError),
    (3, "etcdserver: invalid downgrade target version", errors.DowngradeError),
    (9, "etcdserver: cluster version not found during downgrade", errors.DowngradeError),
    (9, "etcdserver: cluster has a downgrade job in progress", errors.DowngradeError),
    (9, "etcdserver: no inflight downgrade job", errors.DowngradeError),
    (1, "etcdserver: request canceled", errors.RequestError),
    (4, "etcdserver: context deadline exceeded", errors.ServerError),
]


# server/etcdserver/errors: without a name in rpctypes, so it comes with the code UNKNOWN.
LATE_TRANSFER = "etcdserver: request timed out, leader transfer took too long"


def test_every_named_error_of_etcd_is_here() -> None:
    assert len(SERVER_ERRORS) == 63
    assert {message for _, message, _ in SERVER_ERRORS} | {LATE_TRANSFER} == set(by_text(TEXTS))


def test_a_leader_that_could_not_hand_over_in_time_is_a_timeout() -> None:
    error = errors.error_for(2, LATE_TRANSFER)
    assert isinstance(error, errors.ServerTimeout)
    assert (error.code, error.message) == (StatusCode.UNKNOWN, LATE_TRANSFER)


@pytest.mark.parametrize(("code", "message", "cls"), SERVER_ERRORS)
def test_a_server_error_arrives_as_its_class_with_code_and_message(
    code: int, message: str, cls: type[RpcError]
) -> None:
    error = error_for(code, message)
    assert type(error) is cls
    assert error.code == code
    assert error.message == message
    assert isinstance(error, EtcdError)


@pytest.mark.parametrize(
    ("message", "cls", "code"),
    [
        ("auth: user name is empty", errors.AuthError, StatusCode.INVALID_ARGUMENT),
        ("auth: permission denied", errors.PermissionDenied, StatusCode.PERMISSION_DENIED),
        ("auth: invalid auth token", errors.InvalidAuthToken, StatusCode.UNAUTHENTICATED),
        ("auth: revision in header is old", errors.AuthOldRevision, StatusCode.INVALID_ARGUMENT),
        (
            "etcdserver: re-configuration failed due to not enough started members",
            errors.MemberError,
            StatusCode.FAILED_PRECONDITION,
        ),
    ],
)
def test_what_the_server_leaves_without_a_code_is_typed_as_what_it_means(
    message: str, cls: type[RpcError], code: StatusCode
) -> None:
    error = error_for(2, message)
    assert type(error) is cls
    assert error.code is code
    assert error.message in by_text(TEXTS)


def test_an_unknown_message_keeps_its_code_and_words() -> None:
    error = error_for(13, "something new")
    assert type(error) is RpcError
    assert error.code is StatusCode.INTERNAL
    assert str(error) == "something new [INTERNAL]"


def test_a_code_that_grpc_does_not_know_counts_as_unknown() -> None:
    assert error_for(99, "odd").code is StatusCode.UNKNOWN


@pytest.mark.parametrize(
    "message",
    [
        "grpc: received message larger than max (3145785 vs. 2097152)",
        "grpc: trying to send message larger than max (3145785 vs. 2097152)",
    ],
)
def test_grpcs_own_size_limits_are_request_too_large(message: str) -> None:
    assert type(error_for(8, message)) is RequestTooLarge


def test_two_classes_can_not_claim_one_message() -> None:
    with pytest.raises(TypeError, match="two classes claim"):
        by_text({**TEXTS, RpcError: ["etcdserver: key not found"]})


def test_an_error_tells_what_to_do() -> None:
    assert "disarm" in str(error_for(8, "etcdserver: mvcc: database space exceeded"))
    assert NoSpace.advice


@pytest.mark.parametrize(
    "error",
    [
        error_for(5, "etcdserver: requested lease not found"),
        Compacted.at(7),
        Unavailable([Attempt("http://a:1", "refused")], maybe_applied=True),
        DeadlineExceeded(attempts=[Attempt("http://a:1", "refused")]),
        LockLost("its key was deleted"),
        WatchCanceled("no reason"),
    ],
)
def test_errors_survive_pickling(error: EtcdError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.maybe_applied == error.maybe_applied


def test_unavailable_names_every_endpoint_and_why() -> None:
    error = Unavailable([Attempt("http://a:1", "refused"), Attempt("http://b:2", "timed out")], maybe_applied=True)
    assert str(error) == (
        "no endpoint answered (http://a:1: refused; http://b:2: timed out); the write may have been applied"
    )


def test_a_deadline_is_a_timeout_and_names_what_failed_before() -> None:
    error = DeadlineExceeded(attempts=[Attempt("http://a:1", "refused")])
    assert isinstance(error, TimeoutError)
    assert str(error) == "the deadline passed (http://a:1: refused)"
    assert not error.maybe_applied


def test_a_deadline_says_nothing_twice() -> None:
    early, connecting = "nothing was sent yet", "the deadline passed while connecting to http://a:1"
    assert str(DeadlineExceeded(early, attempts=[Attempt("http://a:1", early)])) == f"{early} (http://a:1)"
    assert str(DeadlineExceeded(connecting, attempts=[Attempt("http://a:1", connecting)])) == connecting


def test_a_lost_lock_is_a_lost_lease() -> None:
    assert issubclass(LockLost, LeaseLost)
    assert issubclass(errors.LeadershipLost, LeaseLost)


def test_a_canceled_watch_raises_what_go_printed() -> None:
    denied = error_for_cancel_reason("rpc error: code = PermissionDenied desc = etcdserver: permission denied")
    assert type(denied) is PermissionDenied
    assert denied.code is StatusCode.PERMISSION_DENIED


def test_a_compacted_watch_says_what_is_left() -> None:
    error = error_for_cancel_reason("etcdserver: mvcc: required revision has been compacted", 42)
    assert isinstance(error, Compacted)
    assert error.compact_revision == 42


def test_a_reason_in_etcds_words_without_a_code_is_typed_too() -> None:
    assert isinstance(error_for_cancel_reason("etcdserver: mvcc: required revision has been compacted"), Compacted)


def test_a_grpc_error_that_has_no_class_keeps_its_code() -> None:
    error = error_for_cancel_reason("rpc error: code = InvalidArgument desc = mvcc: something")
    assert type(error) is RpcError
    assert (error.code, error.message) == (StatusCode.INVALID_ARGUMENT, "mvcc: something")


def test_a_code_that_go_does_not_print_counts_as_unknown() -> None:
    error = error_for_cancel_reason("rpc error: code = Strange desc = etcdserver: request timed out")
    assert isinstance(error, ServerTimeout)
    assert error.code is StatusCode.UNKNOWN


def test_any_other_reason_is_kept_as_it_is() -> None:
    error = error_for_cancel_reason("mvcc: watcher range is empty")
    assert isinstance(error, WatchCanceled)
    assert error.reason == "mvcc: watcher range is empty"
    assert "no reason given" in str(error_for_cancel_reason(""))


def test_only_a_write_is_said_to_be_maybe_applied() -> None:
    error = LeaseNotFound(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
    assert "may have been applied" not in str(error)
    error.maybe_applied = True
    assert str(error).endswith("; the write may have been applied")
