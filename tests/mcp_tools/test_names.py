"""Names and patterns of tools from MCP servers."""

import re

import pytest

from durable_responses.mcp_tools import names


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("github", "create_issue", "github__create_issue"),
        ("fs", "read-file", "fs__read-file"),
        ("a", "_b", "a___b"),
        ("a", "b.c", "a__b_c_57a76311"),
        ("a", "b_c", "a__b_c"),
        ("a", "b/c", "a__b_c_e6f83604"),
        ("a", "x" * 61, f"a__{'x' * 61}"),
        ("a", "x" * 62, f"a__{'x' * 52}_963534d8"),
        ("a", "größe", "a__gr__e_b91d134b"),
        ("a", "", "a___00a5c5cf"),
        ("a", "\ud800", "a____f4e8bb91"),
    ],
)
def test_a_name_is_one_that_the_api_takes(server: str, tool: str, name: str) -> None:
    """It never changes: it stands in histories."""
    assert names.api_name(server, tool) == name
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", name)


def test_names_that_would_be_the_same_are_not() -> None:
    tools = ["b.c", "b_c", "b/c", "b c", "b.c" + "x" * 100, "b.c" + "x" * 101]
    assert len({names.api_name("a", tool) for tool in tools}) == len(tools)


@pytest.mark.parametrize("name", ["a", "git-hub", "a_b", "x" * 32, "_a"])
def test_a_server_may_be_called_so(name: str) -> None:
    assert names.problem_of_server(name) is None


@pytest.mark.parametrize("name", ["", "a.b", "a__b", "a_", "x" * 33, "a b", "a\n", "ä"])
def test_a_server_may_not_be_called_so(name: str) -> None:
    """With two underscores in a row, `a__b` of `c` and `a` of `b__c` were one."""
    assert names.problem_of_server(name) is not None


@pytest.mark.parametrize(
    ("servers", "tools", "used"),
    [
        (None, None, []),
        (None, ["add"], []),
        (["fs"], None, ["fs"]),
        (["fs"], ["github.*", "github.get_*", "add"], ["fs", "github"]),
        ([], ["fs.*"], ["fs"]),
    ],
)
def test_a_run_uses_the_servers_that_it_names(
    servers: list[str] | None, tools: list[str] | None, used: list[str]
) -> None:
    assert names.servers_of(servers, tools) == used


@pytest.mark.parametrize(
    ("tool", "chosen_by", "is_chosen"),
    [
        ("read_file", None, True),
        ("read_file", ["add"], True),
        ("read_file", ["github.*"], True),
        ("read_file", ["fs.read_*"], True),
        ("write_file", ["fs.read_*"], False),
        ("write_file", ["fs.read_*", "fs.write_file"], True),
        ("a.b", ["fs.a.b"], True),
        ("read_file", ["fs.READ_*"], False),
    ],
)
def test_patterns_choose_the_tools_of_a_server(tool: str, chosen_by: list[str] | None, is_chosen: bool) -> None:
    """A server that no pattern is about offers all of its tools."""
    assert names.is_chosen("fs", tool, chosen_by) is is_chosen


def test_a_pattern_that_no_tool_fits_is_told() -> None:
    given = ["fs.read_*", "fs.reed_*", "github.*"]
    assert names.matching_nothing("fs", ["read_file"], given) == ["fs.reed_*"]


def test_names_without_a_dot_are_those_of_the_workers_own_tools() -> None:
    assert names.own_tools(["add", "fs.*"]) == ["add"]
    assert names.own_tools(None) is None
    assert names.patterns(["add", "fs.*"]) == ["fs.*"]


def test_the_provider_knows_names_alone() -> None:
    assert names.named_exactly("fs", ["fs.read", "fs.a.b", "github.*"]) == ["read", "a.b"]
    assert names.named_exactly("fs", ["fs.*", "fs.read"]) == names.named_exactly("fs", None) == []
    with pytest.raises(ValueError, match=r"^'fs\.read_\*': the provider knows no patterns of tools"):
        names.named_exactly("fs", ["fs.read_*"])
