"""What is demanded of clients follows from several keys, as in Apache's AuthenticationHelper."""

from __future__ import annotations

from coterie.settings import Config


def test_schemes_are_demanded_only_where_that_is_enabled() -> None:
    assert Config(data_dir="d", auth_schemes=("digest",)).demanded_schemes == ()
    both = Config(data_dir="d", auth_enforced=True, auth_schemes=("digest", "x509"))
    assert both.demanded_schemes == ("digest", "x509")


def test_to_demand_sasl_is_to_demand_nothing_else() -> None:
    config = Config(data_dir="d", sasl_demanded=True, auth_enforced=True, auth_schemes=("ip",))
    assert config.demanded_schemes == ("sasl",)


def test_there_are_users_where_there_is_a_file_of_them() -> None:
    assert not Config(data_dir="d").has_users
    assert Config(data_dir="d", sasl_jaas_file="f").has_users
    assert Config(data_dir="d", sasl_users_file="f").has_users
