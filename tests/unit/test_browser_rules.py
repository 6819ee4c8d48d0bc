"""Which Host and Origin are ours."""

import pytest

from kusciajob import config
from kusciajob.security.browser import LOOPBACK_ONLY, BrowserRules, ForeignHost, ForeignPage

CONFIGURED = BrowserRules(
    bound_host="jobs.lan", hosts=("portal", "10.0.0.7", "fd00::7"), origins=("https://portal.example.com",)
)


@pytest.mark.parametrize(
    ("rules", "host", "is_ours"),
    [
        *[
            (LOOPBACK_ONLY, host, True)
            for host in (
                "localhost",
                "LOCALHOST:8082",
                "localhost.:1",
                "127.0.0.1",
                "127.0.0.1:8082",
                "127.5.6.7:1",
                "[::1]",
                "[::1]:8082",
                "[::ffff:127.0.0.1]:1",
                "",
            )
        ],
        *[
            (LOOPBACK_ONLY, host, False)
            for host in (
                "evil.example",
                "evil.example:8082",
                "localhost.evil.example",
                "evil.localhost",
                "127.0.0.1.evil.example",
                "127.0.0.1@evil.example",
                "user@localhost",
                "10.0.0.7:8082",
                "0.0.0.0:8082",
                "2130706433",
                "0x7f.1",
                "[fe80::1]",
                "[::ffff:10.0.0.7]",
                "x" * 5000,
                "\udcff\x1b[2J",
            )
        ],
        *[(CONFIGURED, host, True) for host in ("portal:80", "jobs.lan:8082", "10.0.0.7", "[fd00::7]:1", "localhost")],
        *[(CONFIGURED, host, False) for host in ("10.0.0.8", "notportal", "portal.evil")],
        # A probe names a listener on all addresses by one that nobody has told it; a name it must have been told.
        *[(BrowserRules(bound_host=any_), "10.1.2.3:8082", True) for any_ in ("0.0.0.0", "::", "[::]")],
        (BrowserRules(bound_host="0.0.0.0"), "evil.example", False),
        (BrowserRules(bound_host="10.0.0.7"), "10.0.0.7:8082", True),
        (BrowserRules(bound_host="10.0.0.7"), "10.0.0.8:8082", False),
        (BrowserRules(hosts=("*",)), "evil.example", True),
        (BrowserRules(is_tls=True), "evil.example", True),
    ],
)
def test_hosts(rules: BrowserRules, host: str, is_ours: bool) -> None:
    if is_ours:
        rules.check_host([host])
        rules.check_host([])
        return
    for hosts in ([host], ["localhost", host]):
        with pytest.raises(ForeignHost, match="allowed_hosts") as refused:
            rules.check_host(hosts)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("host", "origin", "site", "is_ours"),
    [
        ("localhost:8082", None, None, True),
        ("localhost:8082", None, "none", True),
        ("localhost:8082", None, "same-origin", True),
        ("localhost:8082", None, "same-site", False),
        ("localhost:8082", None, "cross-site", False),
        ("localhost:8082", None, "anything", False),
        ("localhost:8082", "http://localhost:8082", "same-origin", True),
        ("localhost:8082", "http://localhost:3000", "same-site", False),
        ("localhost:8082", "https://localhost:8082", None, False),
        ("localhost:8082", "http://127.0.0.1:8082", None, False),
        ("localhost:8082", "https://evil.example", "cross-site", False),
        ("localhost:8082", "null", None, False),
        ("localhost:8082", "", None, False),
        ("localhost:8082", "file://", None, False),
        ("localhost:8082", "\udcff", None, False),
        ("localhost:8082", "https://portal.example.com", "cross-site", True),
        ("localhost:8082", "https://portal.example.com:444", "cross-site", False),
        ("localhost:8082", "https://portal.example.com.evil.example", "cross-site", False),
    ],
)
def test_pages(host: str, origin: str | None, site: str | None, is_ours: bool) -> None:
    origins = [] if origin is None else [origin]
    sites = [] if site is None else [site]
    if is_ours:
        CONFIGURED.check_change(hosts=[host], origins=origins, sites=sites)
        return
    with pytest.raises(ForeignPage, match="allowed_origins") as refused:
        CONFIGURED.check_change(hosts=[host], origins=origins, sites=sites)
    assert str(refused.value).isprintable()


def test_with_tls_our_own_page_is_one_of_https() -> None:
    rules = BrowserRules(is_tls=True)
    rules.check_change(hosts=["jobs.lan"], origins=["https://jobs.lan"], sites=[])
    with pytest.raises(ForeignPage):
        rules.check_change(hosts=["jobs.lan"], origins=["http://jobs.lan"], sites=[])


def test_the_lists_are_set_by_flag_and_file_and_checked() -> None:
    assert config.load({"allowed_hosts": "a.b, 10.0.0.7,"}, environment={}).allowed_hosts == ("a.b", "10.0.0.7")
    environment = {"KUSCIAJOB_ALLOWED_ORIGINS": "https://a.b,http://c:8080"}
    assert config.load({}, environment=environment).allowed_origins == ("https://a.b", "http://c:8080")
    for name, value in (
        ("allowed_hosts", "http://a"),
        ("allowed_hosts", "a:80"),
        ("allowed_hosts", "A"),
        ("allowed_origins", "a.b"),
        ("allowed_origins", "https://a.b/"),
        ("allowed_origins", "*"),
        ("allowed_origins", "null"),
    ):
        with pytest.raises(config.SettingsError, match=f"{name} has '{value.replace('*', '.')}'"):
            config.load({name: value}, environment={})


def test_the_lists_are_lists_in_a_file() -> None:
    assert config.load({"allowed_hosts": ["a", "b"]}, environment={}).allowed_hosts == ("a", "b")
    with pytest.raises(config.SettingsError, match="allowed_hosts"):
        config.load({"allowed_hosts": [1]}, environment={})
