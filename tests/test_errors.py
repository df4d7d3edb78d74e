"""The table of error codes against `KeeperException.Code`, and what people read of an error."""

from __future__ import annotations

import pickle

import pytest

from coterie import errors
from coterie.errors import BY_CODE, UnknownError, ZooKeeperError, from_code

_APACHE = {
    -1: "SystemError",
    -2: "RuntimeInconsistency",
    -3: "DataInconsistency",
    -4: "ConnectionLoss",
    -5: "MarshallingError",
    -6: "Unimplemented",
    -7: "OperationTimeout",
    -8: "BadArguments",
    -12: "UnknownSession",
    -13: "NewConfigNoQuorum",
    -14: "ReconfigInProgress",
    -100: "APIError",
    -101: "NoNode",
    -102: "NoAuth",
    -103: "BadVersion",
    -108: "NoChildrenForEphemerals",
    -110: "NodeExists",
    -111: "NotEmpty",
    -112: "SessionExpired",
    -113: "InvalidCallback",
    -114: "InvalidACL",
    -115: "AuthFailed",
    -118: "SessionMoved",
    -119: "NotReadOnly",
    -120: "EphemeralOnLocalSession",
    -121: "NoWatcher",
    -122: "RequestTimeout",
    -123: "ReconfigDisabled",
    -124: "SessionClosedRequireSaslAuth",
    -125: "QuotaExceeded",
    -127: "ThrottledOp",
}
_OUR_NAMES = {
    "SystemError": "ServerFailure",  # Python has a SystemError of its own
    "SessionClosedRequireSaslAuth": "AuthenticationRequired",
    "ThrottledOp": "Throttled",
}


@pytest.mark.parametrize(("code", "name"), _APACHE.items(), ids=_APACHE.values())
def test_each_code_of_zookeeper_has_its_class(code: int, name: str) -> None:
    plain = _OUR_NAMES.get(name, name).removesuffix("Error")
    assert BY_CODE[code].__name__.lower() == f"{plain}Error".lower()
    assert BY_CODE[code].code == code


def test_there_are_no_other_codes() -> None:
    assert BY_CODE.keys() == _APACHE.keys()
    assert errors.OK == 0


def test_an_error_says_what_was_tried_and_where() -> None:
    error = from_code(-101, "/a", "getData")
    assert type(error) is errors.NoNodeError
    assert (error.path, error.operation) == ("/a", "getData")
    assert str(error) == "getData /a: The znode does not exist"
    assert str(from_code(-101, "/a")) == "/a: The znode does not exist"
    assert str(from_code(-101)) == "The znode does not exist"


def test_an_error_code_of_the_future_is_kept() -> None:
    error = from_code(-999, "/a", "create")
    assert isinstance(error, UnknownError)
    assert error.unknown_code == -999
    assert str(error).endswith(": -999")


@pytest.mark.parametrize("error", [from_code(-103, "/a", "setData"), from_code(-999, "/a")])
def test_an_error_survives_pickling(error: ZooKeeperError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_each_class_says_what_it_means() -> None:
    for cls in BY_CODE.values():
        assert cls.__doc__ is not None
        assert cls.__doc__ != ZooKeeperError.__doc__
